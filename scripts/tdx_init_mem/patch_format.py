# SPDX-License-Identifier: GPL-2.0-only
"""What a patch says of itself: number, subject, author, sign-off."""

import email
import email.message
import pathlib
import re
import typing

# Of the subject without the part in brackets, as it ends up in the log.
MAX_SUBJECT = 80
_SUBJECT = re.compile(r"^\[PATCH (\d+)/(\d+)\] (.*)$")
_TITLE = re.compile(r"^KVM: (?:[\w./ -]+: )*[A-Z].*[^.]$")
_FILE = re.compile(r"^(\d{4})-(.+)$")
_TRAILER = re.compile(r"^[A-Z][A-Za-z-]+: \S")
SIGN_OFF = "Signed-off-by: "


def slug(title: str) -> str:
    """As git format-patch names its files, before it cuts the name off."""
    return re.sub(r"[^\w.]+", "-", title, flags=re.ASCII).strip("-.")


def complaints(patch: pathlib.Path, number: int, count: int) -> typing.List[str]:
    """What is wrong with the patch that is number @number of the @count in its directory."""
    try:
        message = email.message_from_string(patch.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        return [f"cannot be read: {error}"]
    return [*of_subject(patch, " ".join(str(message["subject"]).split()), number, count),
            *of_body(message)]


def of_subject(patch: pathlib.Path, subject: str, number: int, count: int) -> typing.List[str]:
    match = _SUBJECT.match(subject)
    if not match:
        return [f"subject is not [PATCH {number}/{count}] KVM: ...: {subject}"]
    found = []
    if (int(match[1]), int(match[2])) != (number, count):
        found.append(f"says {match[1]}/{match[2]}, and is {number}/{count} of its directory")
    title = match[3]
    if not _TITLE.match(title):
        found.append(f"subject is not of the form KVM: area: Sentence: {title}")
    if len(title) > MAX_SUBJECT:
        found.append(f"subject has {len(title)} characters, more than {MAX_SUBJECT}: {title}")
    file = _FILE.match(patch.stem)
    if not file or int(file[1]) != number:
        found.append(f"{patch.name} is number {number} of its directory")
    elif not slug(title).startswith(file[2].rstrip("-.")):
        found.append(f"{patch.name} is not named after its subject: {title}")
    return found


def of_body(message: email.message.Message) -> typing.List[str]:
    text = str(message.get_payload()).partition("\n---\n")[0]
    lines = [line for line in text.splitlines() if line.strip()]
    signed = [line[len(SIGN_OFF):] for line in lines if line.startswith(SIGN_OFF)]
    author = " ".join(str(message["from"]).split())
    found = []
    if author not in signed:
        found.append(f"not signed off by its author, {author}")
    if signed and not lines[-1].startswith(SIGN_OFF):
        found.append(f"something follows the sign-off: {lines[-1]}")
    if not any(not _TRAILER.match(line) for line in lines):
        found.append("says nothing of why")
    return found
