"""The characters by which byte-level BPE writes bytes (GPT-2, Radford et al. 2019).

A vocabulary is text, but not every byte is a character that can be read. A byte that is a
printable character of Latin-1 stands for itself; the others take the characters from U+0100 on, in
order. So a blank is written Ġ (U+0120), and é, whose UTF-8 bytes are C3 A9, is written Ã©.
"""

from __future__ import annotations

PRINTABLE = [
    *range(ord("!"), ord("~") + 1),
    *range(ord("¡"), ord("¬") + 1),
    *range(ord("®"), ord("ÿ") + 1),
]
OTHERS = [byte for byte in range(256) if byte not in PRINTABLE]

CHARACTER_OF_BYTE = {
    **{byte: chr(byte) for byte in PRINTABLE},
    **{byte: chr(0x100 + place) for place, byte in enumerate(OTHERS)},
}
BYTE_OF_CHARACTER = {character: byte for byte, character in CHARACTER_OF_BYTE.items()}
BYTE_ALPHABET = frozenset(BYTE_OF_CHARACTER)


def written(text: str) -> str:
    """The UTF-8 bytes of `text`, a character each.

    >>> written("an é")
    'anĠÃ©'
    """
    return "".join(CHARACTER_OF_BYTE[byte] for byte in text.encode())


def bytes_of(entry: str) -> bytes:
    r"""The bytes that an entry of a vocabulary stands for; one that was added as text is text.

    >>> bytes_of("ĠÃ©"), bytes_of("a b")
    (b' \xc3\xa9', b'a b')
    """
    if not BYTE_ALPHABET.issuperset(entry):
        return entry.encode()
    return bytes(BYTE_OF_CHARACTER[character] for character in entry)
