from django.conf import settings
from django.contrib import admin
from django.contrib.auth.decorators import login_required
from django.urls import include, path
from django.views.generic import RedirectView, TemplateView

from approvals.runner import health
from approvals.tenants.views import home

urlpatterns = [
    path("", home, name="home"),
    path("favicon.ico", RedirectView.as_view(url=settings.STATIC_URL + "favicon.svg")),
    path("healthz", health.alive),
    path("healthz/", health.alive),
    path("readyz", health.ready),
    path("readyz/", health.ready),
    path("admin/", admin.site.urls),
    path("accounts/", include("allauth.account.urls")),
    path("", include("approvals.tenants.urls")),
    *(
        [path("styleguide/", login_required(TemplateView.as_view(template_name="styleguide.html")))]
        if settings.DEBUG
        else []
    ),
    path("", include("approvals.chat.urls")),
    path("", include("approvals.reviews.urls")),
]
