// The text of device code compiles where there is no device, so that a broken header is seen before a GPU is.
#include <fmt/format.h>
#include <catch2/catch.hpp>

#include <array>

#include "core/ops/op.hpp"
#include "kernels/cuda/nvrtc/nvrtc.hpp"
#include "kernels/cuda/nvrtc/source.hpp"

using namespace peri;
using namespace peri::kernels;
using namespace peri::kernels::cuda;

namespace {

std::string trouble(const std::string& text) {
  const auto code = cuda::compile_text(text, "sm_90");
  return code ? "" : code.error().to_string();
}

std::string kernel(const std::string& lines) {
  return "#include \"kernels/cuda/compute/pointwise.cuh\"\nusing namespace peri;\nusing namespace "
         "peri::kernels::cuda;\n"
         "extern \"C\" __global__ void probe(byte* m) {\n" +
         lines + "}\n";
}

}  // namespace

TEST_CASE("every embedded header compiles on its own", "[no_device]") {
  for (const cuda::Header& header : cuda::headers())
    CHECK(trouble(fmt::format("#include \"{}\"\n", header.name)) == "");
  CHECK(trouble("#include \"kernels/cuda/nvrtc/source_elements.cuh\"\nint f() { return unknown; }\n") != "");
}

TEST_CASE("every cast compiles between all elements", "[no_device]") {
  constexpr std::array kElements = {"f32", "f16", "bf16", "i32", "i64", "u8", "boolean"};
  std::string lines;
  for (const char* from : kElements)
    for (const char* to : kElements)
      lines += fmt::format("  store<{1}>(m, 0, cast<{1}>(load<{0}>(m, 1)));\n", from, to);
  CHECK(trouble(kernel(lines)) == "");
}

TEST_CASE("norms compile for few lines and for many", "[no_device]") {
  for (const char* form :
       {"bf16, 1, 4, true, Kept::none", "bf16, 4, 1, true, Kept::all", "f16, 16, 1, false, Kept::some"})
    CHECK(trouble(fmt::format("#include \"kernels/cuda/compute/normalisation.cuh\"\n"
                              "using namespace peri::kernels::cuda;\n"
                              "#define KERNEL(name) extern \"C\" __global__ void name(byte* m, const "
                              "Normalisation<2> c)\n"
                              "KERNEL(first) {{ softmax<{0}>(m, m, c); }}\n"
                              "KERNEL(second) {{ rms_norm<{0}>(m, m, m, c); }}\n"
                              "KERNEL(third) {{ layer_norm<{0}>(m, m, nullptr, m, c); }}\n",
                              form)) == "");
}

TEST_CASE("attention compiles for narrow and wide heads", "[no_device]") {
  for (const char* form : {"bf16, i32, true, 128, 8, 16, 1", "f32, i64, true, 80, 4, 32, 4",
                           "f16, i32, false, 5, 1, 1, 7", "bf16, i32, true, 2048, 8, 256, 1"})
    CHECK(trouble(fmt::format(
              "#include \"kernels/cuda/compute/attention.cuh\"\n"
              "using namespace peri::kernels::cuda;\nusing Elements = Attending<{}>;\n"
              "extern \"C\" __global__ void __launch_bounds__(256) part(byte* m, const Attention "
              "c) {{ Elements::part(m, m, m, m, m, m, c); }}\n"
              "extern \"C\" __global__ void __launch_bounds__(256) whole(byte* m, const Attention "
              "c) {{ Elements::whole(m, m, m, m, m, c); }}\n",
              form)) == "");
}

TEST_CASE("sorting compiles for every element, tile and direction", "[no_device]") {
  for (const char* element : {"f32", "f16", "bf16", "i32", "i64", "u8"})
    for (const char* sorter : {"true, 2048, 512", "false, 64, 32"})
      CHECK(trouble(fmt::format(
                "#include \"kernels/cuda/compute/sort.cuh\"\n"
                "using namespace peri::kernels::cuda;\n"
                "using S = Sorter<{}, {}>;\nusing C = Sorting<2>;\n"
                "#define KERNEL(name) extern \"C\" __global__ void name(byte* m, S::Item* s, const C c)\n"
                "KERNEL(first) {{ S::tiles<true, true>(m, m, m, s, c); }}\n"
                "KERNEL(best) {{ S::tiles<true, false>(m, m, m, s, c); }}\n"
                "KERNEL(next) {{ S::tiles<false, false>(m, m, m, s, c); }}\n"
                "KERNEL(step) {{ S::step(s, c); }}\n"
                "KERNEL(merge) {{ S::merge(m, m, m, s, c); }}\n",
                element, sorter)) == "");
}

TEST_CASE("every pointwise op compiles on a dtype that it takes", "[no_device]") {
  for (int i = 0; i < kOpCount; ++i) {
    const OpInfo& row = info(static_cast<Op>(i));
    if (!row.has(kPointwise) || row.op == Op::cast || row.op == Op::where)
      continue;  // have forms of their own
    const bool takes_floats = row.dtypes != DTypes::integers;
    const char *element = takes_floats ? "f32" : "i64", *type = takes_floats ? "float" : "int64_t";
    CHECK(trouble(kernel(fmt::format("  const {2} x = load<{1}>(m, 0);\n"
                                     "  store<{1}>(m, 1, apply<Op::{0}, {1}, {2}>(x, x, x));\n",
                                     row.name, element, type))) == "");
  }
}
