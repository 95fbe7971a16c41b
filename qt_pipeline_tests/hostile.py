"""Hostile names, and what a reader's program must find in no text that shows them."""

import html
import re
import unicodedata

from hypothesis import strategies as st
from linkify_it import LinkifyIt
from markdown_it import MarkdownIt
from markdown_it.token import Token

HOSTILE = (
    "![](</graphql?query=mutation{wipe}>)",
    "![x](http://evil.example/p.png)",
    "[x](/graphql?query=mutation{wipe})",
    "[x]: http://evil.example",
    "[x][y]",
    "<img src=/graphql?query=mutation{wipe}>",
    "<script>alert(1)</script>",
    "<http://evil.example>",
    "http://evil.example/a?b=c",
    "HTTPS://127.0.0.1:3000/graphql",
    "www.evil.example",
    "www.1.example",
    "evil.example",
    "evil.com and 1.2.co.uk:80/x",
    "ev-il_.com http://[::1]:3000/graphql \uff1ahttp",
    "//evil.example/x",
    "mailto:a@evil.example",
    "somebody@evil.example",
    "@channel @here @everyone @all",
    "<!channel> <!here|here> !channel>",
    "<@U024BE7LH> <#C024BE7LR> <@&1234>",
    "<http://evil.example|here>",
    "| a | b |\n|---|---|",
    "```\ncode\n```",
    "# heading",
    "&lt;img src=x&gt; &#60;b&#62;",
    "[bold red]x[/] [link=http://evil.example]x[/link] :bomb:",
    "x\\",
    "\x1b[31mred\x1b[0m \x1b]8;;http://evil.example\x1b\\link\x1b]8;;\x1b\\",
    "\x9b31m \x9d8;;http://evil.example\x9c",
    "over\rwritten\nforged line\x08\x7f\x00",
    "\u202egnp.exe \u2066x\u2069 \u200f\ufeff\u2028\u2029",
    "=cmd|' /C calc'!A0",
    "+1+cmd|x",
    "-2+3",
    "@SUM(1)",
    "\t=1",
    "\r=1",
    " =1",
    "x;=1",
)

# Whole hostile names, pieces of them in any order, and any text at all.
_PIECES = sorted({piece for name in HOSTILE for piece in re.findall(r"\w+|\W", name)})
hostile_text = st.one_of(
    st.sampled_from(HOSTILE),
    st.lists(st.one_of(st.sampled_from(HOSTILE), st.sampled_from(_PIECES)), max_size=12).map("".join),
    st.text(max_size=60),
)

_COMMONMARK_AND_GFM = MarkdownIt("gfm-like", {"html": True, "linkify": True})
_LINKIFY = LinkifyIt()
# What remark-gfm, which Dagster's UI uses, looks for in text whose escapes are resolved.
_REMARK = re.compile(r"(https?://|www(?=\.))([-.\w]+)([^ \t\r\n]*)|([-.\w+]+)@([-\w]+(?:\.[-\w]+)+)", re.IGNORECASE)
_MENTIONS = re.compile(r"@\w|<[!@#&]|!(channel|here|everyone)\b|\]\(|\]\[|\]:|!\[", re.IGNORECASE)
_ALIVE = ("link_open", "image", "html_inline", "html_block")


def live_markdown(text: str) -> list[str]:
    """What of a Markdown text is a link, an image or HTML, or would be found to be an address by its viewer."""
    tokens = list(_flat(_COMMONMARK_AND_GFM.parse(text)))
    found = [f"{token.type}: {token.attrs or token.content}" for token in tokens if token.type in _ALIVE]
    shown = [token.content for token in tokens if token.type in ("text", "text_special")]
    return found + [address for piece in ("".join(shown), *shown) for address in addresses(piece)]


def addresses(text: str) -> list[str]:
    """What programs take for an address in a plain text."""
    return [match.url for match in _LINKIFY.match(text) or ()] + [match.group() for match in _REMARK.finditer(text)]


def live_chat(text: str) -> list[str]:
    """What a chat or mail program would make of a message: links, pictures, mentions, HTML."""
    mentions = [match.group() for match in _MENTIONS.finditer(html.unescape(text))]
    return live_markdown(text) + addresses(text) + mentions


def as_read(text: str) -> str:
    """What a person sees of a text that was made inert."""
    return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", text).replace("\N{HAIR SPACE}", "")


def controls(text: str) -> list[str]:
    """What steers a terminal, or turns the direction of text."""
    return [repr(c) for c in text if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")]


def _flat(tokens: list[Token]) -> list[Token]:
    return [one for token in tokens for one in (token, *_flat(token.children or []))]
