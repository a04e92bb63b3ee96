#!/usr/bin/env python3
"""The style test sees what it is there to see: one planted breach of each rule, and none in clean text."""
import importlib.util
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
spec = importlib.util.spec_from_file_location("tidy", ROOT / "tools/tidy/tidy.py")
tidy = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tidy)

HEAD = "// x: y\n//\n// Owns:   nothing.\n// Never:  anything.\n#pragma once\n"


class Tidy(unittest.TestCase):
    def breaches(self, path, text, ratchet=None):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            (root / path).parent.mkdir(parents=True)
            (root / path).write_text(text)
            return tidy.check(root, [path], ratchet or {})[0]

    def assert_breach(self, path, text, rule):
        found = self.breaches(path, text)
        self.assertTrue(any(f": {rule}: " in f for f in found), found)

    def test_clean(self):
        self.assertEqual(self.breaches("core/a.hpp", HEAD + '#include "core/b.hpp"\n'), [])

    def test_rooms(self):
        self.assert_breach("core/a.cpp", '#include "storage/store.hpp"\n', "rooms")
        self.assert_breach("api/a.cpp", '#include "actors/fetcher/fetcher.hpp"\n', "rooms")
        self.assert_breach("actors/a.cpp", '#include "storage/connection.hpp"\n', "rooms")
        self.assert_breach("api/a.cpp", "#include <pqxx/pqxx>\n", "rooms")
        self.assert_breach("nowhere/a.cpp", "int a;\n", "rooms")

    def test_banned(self):
        self.assert_breach("tests/a.cpp", "std::this_thread::sleep_for(x);\n", "banned")
        self.assert_breach("actors/a.cpp", "self->request(x, caf::infinite, y);\n", "banned")
        self.assert_breach("protocol/imap/a.cpp", "auto t = mono_clock::now();\n", "banned")
        self.assertEqual(self.breaches("actors/a.cpp", "// caf::infinite is banned\n"), [])

    def test_heads(self):
        self.assert_breach("core/a.hpp", "#pragma once\nint a;\n", "heads")

    def test_length(self):
        self.assert_breach("core/a.cpp", "int a;\n" * (tidy.FILE_LINES + 1), "length")
        body = "void f() {\n" + "  g();\n" * (tidy.FUNCTION_LINES + 1) + "}\n"
        self.assert_breach("core/a.cpp", body, "length")
        self.assertEqual(self.breaches("core/a.cpp", "int a;\n" * 500, {"core/a.cpp": 500}), [])

    def test_marks(self):
        self.assert_breach("core/a.cpp", "// TO" + "DO later\n", "marks")
        self.assertEqual(self.breaches("core/a.cpp", "// TO" + "DO: gone when g++ 13 is the oldest compiler\n"), [])


if __name__ == "__main__":
    sys.exit(unittest.main())
