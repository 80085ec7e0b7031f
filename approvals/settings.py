"""Settings, top to bottom. Every value an operator may set comes from the environment; docs/settings.md lists them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import environ
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured
from environ.fileaware_mapping import FileAwareMapping

BASE_DIR = Path(__file__).resolve().parent.parent


class _SecretsFromFiles(FileAwareMapping):  # type: ignore[misc]  # environ has no types
    """NAME_FILE names a file that holds NAME: its last line end is the editor's, not the secret's."""

    def __getitem__(self, key: str) -> Any:
        return super().__getitem__(key).rstrip("\n")


env = environ.Env()
env.ENVIRON = _SecretsFromFiles()

DEBUG: bool = env.bool("DEBUG", default=False)
SECRET_KEY: str = env.str("SECRET_KEY", default="")
if not SECRET_KEY:
    raise ImproperlyConfigured("Set SECRET_KEY (or SECRET_KEY_FILE); `make run` makes one by itself.")
ALLOWED_HOSTS: list[str] = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"] if DEBUG else [])
CSRF_TRUSTED_ORIGINS: list[str] = env.list("CSRF_TRUSTED_ORIGINS", default=[])
# Whole origins from which a socket may be opened; empty: the page's own host only.
WEBSOCKET_ORIGINS: list[str] = env.list("WEBSOCKET_ORIGINS", default=[])

# --- Which process this is, and so which role of the database it is -------------------------------------------------

PROCESS: str = env.str("GATEHOUSE_PROCESS", default="web")  # web, worker or owner
_url_of = {
    "web": ("DATABASE_URL",),
    "worker": ("DATABASE_WORKER_URL", "DATABASE_URL"),
    "owner": ("DATABASE_OWNER_URL", "DATABASE_URL"),
}


def _database(*names: str, **changes: Any) -> dict[str, Any]:
    name = next((each for each in names if os.environ.get(each) or os.environ.get(f"{each}_FILE")), None)
    if name is None:
        raise ImproperlyConfigured(f"Set {names[0]}; `make run` brings a PostgreSQL of its own.")
    found: dict[str, Any] = env.db_url(name)
    options = {**found.get("OPTIONS", {}), **changes.pop("OPTIONS", {})}
    return {**found, "CONN_HEALTH_CHECKS": True, **changes, "OPTIONS": options}


# Threads are short-lived under ASGI: a pool, never CONN_MAX_AGE (600 requests left up to 150 connections open).
POOL = {"min_size": 2, "max_size": env.int("DATABASE_POOL_SIZE", default=20), "timeout": 10}
# Statements are planned once a connection, not once a call: a third of PostgreSQL's work on an approval cycle was planning.
PREPARED = {"server_side_binding": True, "prepare_threshold": 2}
DATABASES: dict[str, dict[str, Any]] = {
    "default": _database(
        *_url_of[PROCESS],
        ENGINE="approvals.db",
        OPTIONS={} if PROCESS == "owner" else {"pool": POOL, **PREPARED},
    ),
}
if PROCESS == "web" and env.str("DATABASE_ADMIN_URL", default=""):
    # Operators' cross-tenant pages (Django admin) only; the role bypasses row-level security.
    DATABASES["admin"] = _database(
        "DATABASE_ADMIN_URL", ENGINE="django.db.backends.postgresql", TEST={"MIRROR": "default"}
    )


def _role(*names: str) -> str:
    return next((env.db_url(name)["USER"] for name in names if env.str(name, default="")), "")


DATABASE_ROUTERS = ["approvals.db.routing.AcrossTenantsRouter"]
DATABASE_ROLES = {
    "web": _role("DATABASE_URL"),
    "worker": _role("DATABASE_WORKER_URL", "DATABASE_URL"),
    "admin": _role("DATABASE_ADMIN_URL"),
}
CHECKPOINT_SCHEMA = "langgraph"
# Before anything imports langgraph: without it whoever can write a checkpoint row runs code in the worker.
os.environ["LANGGRAPH_STRICT_MSGPACK"] = "true"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Applications ---------------------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "approvals.tenants.admin_config.OperatorsAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "servestatic.runserver_nostatic",
    "django.contrib.staticfiles",
    "channels",
    "csp",
    "django_htmx",
    "template_partials",
    "allauth",
    "allauth.account",
    "procrastinate.contrib.django",
    "approvals.db",
    "approvals.audit",
    "approvals.tenants",
    "approvals.conversations",
    "approvals.calls",
    "approvals.policies",
    "approvals.reviews",
    "approvals.chat",
    "approvals.runner",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "servestatic.middleware.ServeStaticMiddleware",
    "csp.middleware.CSPMiddleware",
    "approvals.tenants.middleware.browser_policies",
    "approvals.tenants.middleware.only_utf8",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "approvals.tenants.middleware.in_one_thread",
]
ROOT_URLCONF = "approvals.urls"
ASGI_APPLICATION = "approvals.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "approvals.tenants.context.frame",
                "approvals.reviews.context.holds",
            ],
        },
    },
]

# --- People ---------------------------------------------------------------------------------------------------------

AUTH_USER_MODEL = "tenants.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "home"
ACCOUNT_ADAPTER = "approvals.tenants.sign_in.ByInvitationOnly"
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*", "password2*"]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_EMAIL_VERIFICATION = "none"  # accounts are made by admins, who vouch for the address
ACCOUNT_LOGOUT_ON_GET = False
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_RATE_LIMITS: dict[str, str] | bool = {"login": "60/m/ip", "login_failed": "10/m/ip,5/5m/key"}
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = not DEBUG
EMAIL_BACKEND = env.str(
    "EMAIL_BACKEND", default=f"django.core.mail.backends.{'console' if DEBUG else 'smtp'}.EmailBackend"
)
EMAIL_HOST: str = env.str("EMAIL_HOST", default="localhost")
EMAIL_PORT: int = env.int("EMAIL_PORT", default=25)
EMAIL_HOST_USER: str = env.str("EMAIL_HOST_USER", default="")
EMAIL_HOST_PASSWORD: str = env.str("EMAIL_HOST_PASSWORD", default="")
EMAIL_USE_TLS: bool = env.bool("EMAIL_USE_TLS", default=False)
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", default="gatehouse@localhost")

# --- The cache is shared by processes: rate limits of sign-in count in it --------------------------------------------

CACHES = {"default": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "gatehouse_cache"}}

# --- Browser --------------------------------------------------------------------------------------------------------

# 'self' and nothing else. No nonce: with 'strict-dynamic' an inline script of a swapped fragment ran (docs/frontend.md).
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    }
}
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
SECURE_SSL_REDIRECT: bool = env.bool("SECURE_SSL_REDIRECT", default=not DEBUG)
SECURE_HSTS_SECONDS: int = env.int("SECURE_HSTS_SECONDS", default=0 if DEBUG else 31_536_000)
SECURE_REDIRECT_EXEMPT = [r"^(healthz|readyz)$"]
if env.bool("BEHIND_TLS_PROXY", default=False):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = 1_048_576  # bytes of one form; a message ends at 64 KiB, an edit at as much

STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
STATICFILES_DIRS = [BASE_DIR / "static"]
SERVESTATIC_USE_FINDERS = DEBUG
SERVESTATIC_AUTOREFRESH = DEBUG
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "servestatic.storage.CompressedManifestStaticFilesStorage"
    },
}

# --- Live pages and jobs --------------------------------------------------------------------------------------------

CHANNEL_LAYER_URL: str = env.str("CHANNEL_LAYER_URL", default="")
CHANNEL_LAYERS: dict[str, dict[str, Any]] = {
    "default": {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": [CHANNEL_LAYER_URL]}}
    if CHANNEL_LAYER_URL
    else {"BACKEND": "approvals.db.notify_layer.NotifyChannelLayer"}
}
PROCRASTINATE_ON_APP_READY = None
GRAPHS = Path(env.str("GATEHOUSE_GRAPHS", default=str(BASE_DIR / "langgraph.json")))  # graphs that workers drive
WORKER_CONCURRENCY: int = env.int("WORKER_CONCURRENCY", default=16)  # threads of conversations driven at once
LEASE_SECONDS: float = env.float("LEASE_SECONDS", default=30)  # the heart beats six times in it
SWEEP_SECONDS: int = env.int("SWEEP_SECONDS", default=10)

# --- Language, time, logs -------------------------------------------------------------------------------------------

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["stderr"], "level": env.str("LOG_LEVEL", default="INFO")},
    "loggers": {"procrastinate": {"level": "WARNING"}, "httpx": {"level": "WARNING"}},
}
