# SPDX-License-Identifier: GPL-2.0-only
"""What make printed, unit by unit; and symbols that nobody exports."""

import io
import pathlib
import tempfile
import unittest

from tdx_init_mem import complaints, exports, steps

OUTPUT = """\
  CC [M]  arch/x86/kvm/vmx/tdx.o
../../tree/toy/arch/x86/kvm/vmx/tdx.c:12:5: warning: no previous prototype for 'f' [-Wmissing-prototypes]
   12 | int f(void)
      |     ^
  CHECK   /some/where/tree/toy/arch/x86/kvm/vmx/tdx.c
/some/where/tree/toy/arch/x86/kvm/vmx/tdx.c:40:9: warning: incorrect type in argument 2 (different address spaces)
/some/where/tree/toy/arch/x86/kvm/vmx/tdx.c:40:9:    expected void const *from
/some/where/tree/toy/arch/x86/kvm/vmx/tdx.c:40:9:    got void [noderef] __user *
  CC [M]  arch/x86/kvm/mmu/mmu.o
Warning: /some/where/tree/toy/arch/x86/kvm/mmu/mmu.c:7 Excess function parameter 'x'
  LD [M]  arch/x86/kvm/kvm.o
arch/x86/kvm/kvm.o: warning: objtool: f+0x1c: unreachable instruction
  MODPOST modules-only.symvers
WARNING: vmlinux.o is missing.
WARNING: modpost: "kfree" [arch/x86/kvm/kvm.ko] undefined!
WARNING: modpost: suppressed 715 unresolved symbol warnings because there were too many)
WARNING: modpost: arch/x86/kvm/kvm: section mismatch in reference: g+0x9 (section: .text) -> h (section: .init.text)
"""
TDX, MMU = "arch/x86/kvm/vmx/tdx.o", "arch/x86/kvm/mmu/mmu.o"


class Parse(unittest.TestCase):

    def setUp(self) -> None:
        self.units, self.checked = complaints.parse(OUTPUT, "toy")

    def test_each_has_its_own_without_place_and_line(self) -> None:
        self.assertEqual(self.units[TDX], [
            "arch/x86/kvm/vmx/tdx.c: warning: no previous prototype for 'f' [-Wmissing-prototypes]",
            "arch/x86/kvm/vmx/tdx.c: warning: incorrect type in argument 2 (different address "
            "spaces) expected void const *from got void [noderef] __user *"])
        self.assertEqual(self.units["arch/x86/kvm/kvm.o"],
                         ["arch/x86/kvm/kvm.o: warning: objtool: f+: unreachable instruction"])

    def test_quotes_of_another_locale_are_no_news(self) -> None:
        other = OUTPUT.replace("'f'", "\u2018f\u2019")
        self.assertEqual(complaints.parse(other, "toy")[0], self.units)

    def test_kernel_doc_counts(self) -> None:
        self.assertEqual(self.units[MMU], [
            "Warning: arch/x86/kvm/mmu/mmu.c: Excess function parameter 'x'"])

    def test_of_modpost_only_what_needs_no_vmlinux(self) -> None:
        self.assertEqual(len(self.units["modules-only.symvers"]), 1)
        self.assertIn("section mismatch", self.units["modules-only.symvers"][0])

    def test_source_that_sparse_did_not_read_is_noticed(self) -> None:
        self.assertEqual(complaints.compiled(OUTPUT) - self.checked, {MMU})

    def test_unit_without_complaints_is_a_unit(self) -> None:
        units, _ = complaints.parse("  CC [M]  a.o\n", "toy")
        self.assertEqual(units, {"a.o": []})


class Added(unittest.TestCase):

    def test_moved_is_not_new(self) -> None:
        moved = OUTPUT.replace(":40:9:", ":43:9:").replace(":12:5:", ":13:5:")
        self.assertEqual(complaints.added(complaints.parse(OUTPUT, "toy")[0],
                                          complaints.parse(moved, "toy")[0]), [])

    def test_once_more_is_new(self) -> None:
        self.assertEqual(complaints.added({"a.o": ["w"]}, {"a.o": ["w", "w", "w"]}),
                         ["a.o: w (2 times)"])

    def test_same_words_in_another_unit_are_new(self) -> None:
        self.assertEqual(complaints.added({"a.o": ["w"]}, {"a.o": ["w"], "b.o": ["w"]}),
                         ["b.o: w"])

    def test_gone_is_no_complaint(self) -> None:
        self.assertEqual(complaints.added({"a.o": ["w"]}, {"a.o": []}), [])


class Exports(unittest.TestCase):

    def test_symbols_of_nm(self) -> None:
        self.assertEqual(exports.symbols("                 U kfree\n"
                                         "0000000000000010 T kvm_f\n"
                                         "0000000000000000 r __export_symbol_kvm_f\n"
                                         "                 w weak\n"), ({"kfree"}, {"kvm_f"}))

    def test_only_an_export_outside_excuses_a_new_symbol(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            tree = pathlib.Path(name)
            for path, text in (("mm/a.c", "EXPORT_SYMBOL_GPL(good);\nEXPORT_SYMBOL(bad_not);\n"),
                               ("virt/kvm/b.c", "EXPORT_SYMBOL_GPL(bad);\n")):
                (tree / path).parent.mkdir(parents=True)
                (tree / path).write_text(text, encoding="ascii")
            found = exports.missing(steps.Steps(out=io.StringIO()), tree, ("virt/kvm",),
                                    {"kvm-intel": ["old"]},
                                    {"kvm-intel": ["old", "good", "bad"], "kvm": []})
        self.assertEqual(found, ["kvm-intel.ko needs bad, which nothing exports"])


if __name__ == "__main__":
    unittest.main()
