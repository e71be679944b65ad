#!/usr/bin/env python3
"""The layer check must find the edges it exists for."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

from check_layers import LAYERS

CHECK = pathlib.Path(__file__).with_name("check_layers.py")


class CheckLayersTest(unittest.TestCase):
    def run_on(self, files):
        with tempfile.TemporaryDirectory() as root:
            for module in LAYERS:
                path = pathlib.Path(root, module, "CMakeLists.txt")
                path.parent.mkdir()
                path.touch()
            for name, text in files.items():
                path = pathlib.Path(root, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            done = subprocess.run([sys.executable, CHECK, root], capture_output=True, text=True,
                                  check=False)
            return done.returncode, done.stdout

    def test_accepts_an_allowed_edge(self):
        code, out = self.run_on({"kube/src/a.cc": '#include "sluice/core/result.h"\n'})
        self.assertEqual((code, out), (0, ""))

    def test_names_an_edge_upwards(self):
        code, out = self.run_on({"core/src/a.cc": '#include "sluice/kube/client.h"\n'})
        self.assertEqual(code, 1)
        self.assertIn("core/src/a.cc:1: core may not include kube", out)

    def test_names_a_library_out_of_place(self):
        code, out = self.run_on({"webhook/src/a.cc": "#include <grpcpp/grpcpp.h>\n"})
        self.assertEqual(code, 1)
        self.assertIn("webhook may not include grpcpp/grpcpp.h", out)

    def test_wants_libfuse_in_the_binding(self):
        text = "#include <fuse_lowlevel.h>\n"
        code, out = self.run_on({"fuse-client/src/binding.cc": text, "fuse-client/src/b.cc": text})
        self.assertEqual(code, 1)
        self.assertIn("belongs to the binding, found in: fuse-client/src/b.cc", out)


if __name__ == "__main__":
    unittest.main()
