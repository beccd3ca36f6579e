"""A prompt of several turns, for models that are asked a second question about their first answer."""

from __future__ import annotations


class Conversation(str):
    """Turns of a dialogue as one prompt: the user's, the assistant's, and so on, the user's last.

    Whoever renders chats uses ``turns``; to everybody else it is text, a transcript that asks for the next answer.
    ValueError for an even number of turns, which would not end with the user's.
    """

    __slots__ = ("turns",)
    turns: tuple[str, ...]

    def __new__(cls, *turns: str) -> Conversation:
        if len(turns) % 2 == 0:
            raise ValueError(f"{len(turns)} turns do not end with the user's; give an odd number")
        told = [f"{('User', 'Assistant')[number % 2]}: {turn}" for number, turn in enumerate(turns)]
        made = super().__new__(cls, turns[0] if len(turns) == 1 else "\n\n".join([*told, "Assistant:"]))
        made.turns = turns
        return made
