"""Binary trees whose leaves are words: built from counts, as arrays (SPEC.md section 2).

A tree of V words has V - 1 inner nodes, numbered from the one that most words pass, by their counts, down; node 0 is the
root. A child is an inner node's number, or V - 1 + word for a leaf.

Shapes: V words, I = V - 1 inner nodes, M nodes on the longest path.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Tree:
    """Arrays of a tree.

    Attributes:
        children_I2: of each inner node, left (bit 0) and right (bit 1).
        mass_I: sum of the counts under each inner node.
        leaves_I: words under each inner node.
        path_VM: nodes from the root to each word as +-(1 + node): plus where the path turns right; 0 after its end.
        length_V: nodes on each word's path.
    """

    children_I2: np.ndarray
    mass_I: np.ndarray
    leaves_I: np.ndarray
    path_VM: np.ndarray
    length_V: np.ndarray


def balanced(order: Callable[[np.ndarray], np.ndarray], counts_V: np.ndarray) -> Tree:
    """The complete tree with its words in this order from left to right: all paths ceil(log2 V) long, or one less.

    Nodes as in a heap: the children of h are 2h + 1 and 2h + 2; V - 1 and up are leaves.
    """
    size, order_V = len(counts_V), order(counts_V)
    children_I2 = np.arange(1, 2 * size - 1, dtype=np.int64).reshape(-1, 2)
    if size > 1:
        # The heap's leaves come level by level: from the left those of the last level are first, the rest one level up.
        deepest = 2 * size - (1 << ((2 * size - 1).bit_length() - 1))
        words = np.concatenate([order_V[deepest:], order_V[:deepest]])
        leaf = children_I2 >= size - 1
        children_I2 = np.where(leaf, size - 1 + words[np.where(leaf, children_I2 - (size - 1), 0)], children_I2)
    return _numbered(children_I2, counts_V)


def huffman(counts_V: np.ndarray) -> Tree:
    """Huffman's tree: the two lightest join, again and again. Of equals, words come before joined nodes and lower ids first.

    Two queues (Van Leeuwen 1976): words by count, and joined nodes, whose masses come out rising.
    """
    size = len(counts_V)
    words = np.argsort(counts_V, kind="stable")
    masses = counts_V[words].tolist()  # of the words; those of joined nodes follow
    word, joined = 0, size
    pairs: list[int] = []
    for _ in range(size - 1):
        mass = 0
        for _ in range(2):
            if word < size and (joined == len(masses) or masses[word] <= masses[joined]):
                lightest, word = word, word + 1
            else:
                lightest, joined = joined, joined + 1
            pairs.append(lightest)
            mass += masses[lightest]
        masses.append(mass)
    # The root is joined last: counted from it, node size + j is inner node (size - 2) - j.
    found = np.asarray(pairs, dtype=np.int64).reshape(-1, 2)[::-1]
    is_word = found < size
    children_I2 = np.where(is_word, size - 1 + words[np.where(is_word, found, 0)], 2 * size - 2 - found)
    return _numbered(children_I2, counts_V)


def _numbered(children_I2: np.ndarray, counts_V: np.ndarray) -> Tree:
    """The tree with its inner nodes numbered by mass, from children whose inner numbers exceed their parent's."""
    size = len(counts_V)
    inner = size - 1
    parent, turn = np.full(2 * size - 1, -1, dtype=np.int64), np.zeros(2 * size - 1, dtype=np.int64)
    parent[children_I2] = np.arange(inner)[:, None]
    turn[children_I2] = [0, 1]
    climb = _climb(parent, np.arange(inner, 2 * size - 1))
    length_V = np.zeros(size, dtype=np.int64)
    mass_I, leaves_I = np.zeros(inner, dtype=np.int64), np.zeros(inner, dtype=np.int64)
    for node_V in climb:
        at = node_V >= 0
        length_V += at
        np.add.at(mass_I, node_V[at], counts_V[at])
        np.add.at(leaves_I, node_V[at], 1)
    # A child's mass is below its parent's, so numbering by mass keeps parents first.
    order_I = np.argsort(-mass_I, kind="stable")
    number = np.concatenate([np.argsort(order_I, kind="stable"), np.arange(inner, 2 * size - 1)])
    path_VM = np.zeros((size, int(length_V.max(initial=0))), dtype=np.int32)
    below_V = np.arange(inner, 2 * size - 1)
    for step, node_V in enumerate(climb):
        at = node_V >= 0
        code = (1 + number[node_V[at]]) * np.where(turn[below_V[at]] == 1, 1, -1)
        path_VM[at, length_V[at] - 1 - step] = code
        below_V = np.where(at, node_V, below_V)
    return Tree(number[children_I2][order_I], mass_I[order_I], leaves_I[order_I], path_VM, length_V)


def _climb(parent: np.ndarray, start_V: np.ndarray) -> list[np.ndarray]:
    """Parent, grandparent, ... of each start; -1 past the root."""
    steps = []
    node_V = parent[start_V]
    while (node_V >= 0).any():
        steps.append(node_V)
        node_V = np.where(node_V >= 0, parent[node_V], -1)
    return steps


@dataclass(frozen=True)
class Level:
    """Inner nodes of one depth, and which of their children (left and right of the first, of the second, ...) go on or end.

    Attributes:
        node_L: the nodes.
        inner_: places in the 2L children that are the next level's nodes, in its order.
        exit_: places that are exits.
    """

    node_L: np.ndarray
    inner_: np.ndarray
    exit_: np.ndarray


def levels(children_I2: np.ndarray, nodes: int) -> tuple[list[Level], np.ndarray]:
    """The part of a tree above and with its first `nodes` nodes, level by level, and the child at each exit, in order of levels.

    With all nodes the exits are the words.
    """
    found: list[Level] = []
    exits: list[np.ndarray] = []
    node_L = np.zeros(min(1, nodes), dtype=np.int64)
    while len(node_L):
        child = children_I2[node_L].reshape(-1)
        goes_on = child < nodes
        found.append(Level(node_L, np.flatnonzero(goes_on), np.flatnonzero(~goes_on)))
        exits.append(child[~goes_on])
        node_L = child[goes_on]
    return found, np.concatenate(exits) if exits else np.zeros(1, dtype=np.int64)


def exit_of_words(tree: Tree, exits_E: np.ndarray, nodes: int) -> np.ndarray:
    """Which of the exits from the first `nodes` nodes each word lies at or under."""
    inner, size = len(tree.children_I2), len(tree.length_V)
    place = np.zeros(inner + size, dtype=np.int64)
    place[exits_E] = np.arange(len(exits_E))
    node_VM = np.abs(tree.path_VM) - 1
    # A path's end is marked by 0, here -1: nothing follows but the word.
    outside_VM = np.concatenate([node_VM >= nodes, np.ones((size, 1), dtype=bool)], axis=1)
    first_V = outside_VM.argmax(1)  # the first node past the exit, or the word itself
    below_VM = np.concatenate([node_VM, np.zeros((size, 1), dtype=node_VM.dtype)], axis=1)
    child_V = below_VM[np.arange(size), first_V]
    return place[np.where(first_V == node_VM.shape[1], inner + np.arange(size), child_V)]
