"""PyYAML's safe loader with limits on nesting, aliases and numbers."""

import re
from typing import Any

import yaml
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError

_MAX_DEPTH = 50
_MAX_NODES = 50_000  # an alias counts as many nodes as it repeats
_MAX_DIGITS = 40
_NO_TEXT = re.compile("[\0\ud800-\udfff]")


class BoundedLoader(yaml.SafeLoader):
    """A safe loader for untrusted text."""

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self._depth = 0
        self._nodes = 0
        self._sizes: dict[int, int] = {}  # number of nodes by `id` of a node that can be repeated

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Override PyYAML's composer: limit depth and number of nodes."""
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            node = super().compose_node(parent, index)
            if id(node) not in self._sizes:
                raise ComposerError(None, None, "an alias inside what it repeats", event.start_mark)
            self._count(self._sizes[id(node)], event)
            return node
        event, before = self.peek_event(), self._nodes  # type: ignore[no-untyped-call]
        self._count(1, event)
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise ComposerError(None, None, "too deeply nested", event.start_mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        self._sizes[id(node)] = self._nodes - before
        return node

    def compose_mapping_node(self, anchor: Any) -> Any:
        """Override PyYAML's composer: reject duplicate keys, which would hide the first one."""
        node = super().compose_mapping_node(anchor)
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if (key.tag, key.value) in seen:
                    text = f"duplicate key {key.value}"
                    raise ComposerError(None, None, text, key.start_mark)
                seen.add((key.tag, key.value))
        return node

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        """Override PyYAML's constructor: reject numbers that are too long, and invalid strings."""
        is_number = node.tag.endswith((":int", ":float"))
        if is_number and len(node.value) > _MAX_DIGITS:
            raise ConstructorError(None, None, "a number too long", node.start_mark)
        value = super().construct_object(node, deep)
        if isinstance(value, str) and _NO_TEXT.search(value):
            raise ConstructorError(None, None, "half of a surrogate pair or a null in a text",
                                   node.start_mark)  # fmt: skip
        return value

    def _count(self, number: int, event: Any) -> None:
        self._nodes += number
        if self._nodes > _MAX_NODES:
            text = f"more than {_MAX_NODES} values, with aliases counted each time"
            raise ComposerError(None, None, text, event.start_mark)
