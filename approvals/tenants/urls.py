from django.urls import path

from approvals.tenants import views

app_name = "tenants"

urlpatterns = [path("accounts/theme/", views.theme, name="theme")]
