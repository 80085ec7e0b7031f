"""Which model the agents use: the demo model, or the one that GATEHOUSE_MODEL names."""

from __future__ import annotations

import os

from langchain.chat_models import init_chat_model
from langchain_core.language_models import BaseChatModel

from agents.models.desk_script import support_desk
from agents.models.scripted import Script, ScriptedChatModel


class ModelUnavailable(RuntimeError):
    """GATEHOUSE_MODEL names a model that cannot be made here; the text says what to do."""


def chosen_model(script: Script = support_desk) -> BaseChatModel:
    """The model of GATEHOUSE_MODEL ("openai:gpt-5-mini"), or without one the demo model in the part of `script`."""
    name = os.environ.get("GATEHOUSE_MODEL", "").strip()
    if not name:
        return ScriptedChatModel(script=script)
    try:
        model: BaseChatModel = init_chat_model(name)
    except ImportError as error:
        raise ModelUnavailable(
            f"GATEHOUSE_MODEL is {name!r}, but its provider's package is not installed ({error})."
            " Install the providers with: pip install -r requirements/models.txt"
        ) from error
    except Exception as error:  # each provider has its own way to miss a key
        raise ModelUnavailable(f"GATEHOUSE_MODEL is {name!r}, which cannot be used: {error}") from error
    return model
