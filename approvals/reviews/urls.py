from django.urls import path

from approvals.reviews import views

app_name = "reviews"

urlpatterns = [
    path("t/<slug:tenant>/queue/", views.queue, name="queue"),
    path("t/<slug:tenant>/holds/", views.holds, name="holds"),
    path("t/<slug:tenant>/holds/<uuid:hold>/lift/", views.lift, name="lift"),
    path("t/<slug:tenant>/queue/<uuid:review>/", views.detail, name="detail"),
    path("t/<slug:tenant>/queue/<uuid:review>/decide/", views.decide_request, name="decide"),
    path("t/<slug:tenant>/queue/<uuid:review>/undo/", views.undo_decision, name="undo"),
]
