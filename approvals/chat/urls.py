from django.urls import path

from approvals.chat import views

app_name = "chat"

urlpatterns = [
    path("t/<slug:tenant>/chat/", views.conversations, name="list"),
    path("t/<slug:tenant>/chat/<uuid:conversation>/", views.conversation, name="conversation"),
    path("t/<slug:tenant>/chat/<uuid:conversation>/retry/<uuid:run>/", views.retry, name="retry"),
    path("t/<slug:tenant>/chat/<uuid:conversation>/stop/", views.stop, name="stop"),
    path("t/<slug:tenant>/chat/<uuid:conversation>/withdraw/<uuid:review>/", views.withdraw_request, name="withdraw"),
]
