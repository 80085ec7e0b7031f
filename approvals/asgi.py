"""HTTP and sockets, composed. The web process refuses a database role that row-level security does not bind."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "approvals.settings")
os.environ.setdefault("GATEHOUSE_PROCESS", "web")

from django.core.asgi import get_asgi_application

http = get_asgi_application()

from approvals.db.checks import refuse_unsafe_role_at_start

refuse_unsafe_role_at_start()

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator, OriginValidator
from django.conf import settings

from approvals.routing import websocket_urlpatterns

sockets = AuthMiddlewareStack(URLRouter(websocket_urlpatterns))
application = ProtocolTypeRouter(
    {
        "http": http,
        "websocket": OriginValidator(sockets, settings.WEBSOCKET_ORIGINS)
        if settings.WEBSOCKET_ORIGINS
        else AllowedHostsOriginValidator(sockets),
    }
)
