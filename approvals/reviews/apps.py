from django.apps import AppConfig


class ReviewsConfig(AppConfig):
    name = "approvals.reviews"
    label = "reviews"
    verbose_name = "Reviews"
