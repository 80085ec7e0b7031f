from django.urls import path

from approvals.chat.consumers import ConversationConsumer
from approvals.reviews.consumers import QueueConsumer

websocket_urlpatterns = [
    path("ws/t/<slug:tenant>/queue/", QueueConsumer.as_asgi()),
    path("ws/t/<slug:tenant>/chat/<uuid:conversation>/", ConversationConsumer.as_asgi()),
]
