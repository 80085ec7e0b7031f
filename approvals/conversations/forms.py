from __future__ import annotations

from django import forms

from agents.canonical import storable

LONGEST_MESSAGE = 64 * 1024  # bytes, as UTF-8


class MessageForm(forms.Form):
    message = forms.CharField(
        widget=forms.Textarea,
        strip=True,
        validators=[],
        error_messages={"required": "Write a message first."},
    )

    def clean_message(self) -> str:
        text = storable(self.cleaned_data["message"])
        size = len(text.encode())
        if size > LONGEST_MESSAGE:
            raise forms.ValidationError(
                f"The message is {size:,} bytes long; {LONGEST_MESSAGE:,} is the limit. Nothing was sent."
            )
        return text
