// Attention: pack sizes, shared memory, and whether the chunks of a row have thread blocks of their own.
#include <algorithm>
#include <bit>

#include <fmt/format.h>

#include "core/ops/attributes_of.hpp"
#include "kernels/compute/kernel_forms.hpp"
#include "kernels/cuda/compute/kernel_compile.hpp"
#include "kernels/cuda/memory/device.hpp"

namespace peri::kernels::cuda {
namespace {

constexpr int64_t kChunk = 256;  // keys, and threads: see attention.cuh

// The largest number of elements that one access can take from keys and values.
int64_t pack_of(const KernelCall& call, int64_t width) {
  int64_t pack = 16 / size_of(call.dtype());
  for (const View* view : {&call.in(1), &call.in(2)}) {
    if (view->strides[2] != 1) return 1;
    for (int64_t number : {width, view->strides[0], view->strides[1]})
      while (pack > 1 && number % pack != 0) pack /= 2;
  }
  return pack;
}

// Bytes of shared memory: see Attending.
int64_t shared_bytes(int64_t width, int64_t lanes, int64_t heads) {
  const int64_t floats = 2 * width + kChunk + std::max<int64_t>(kChunk / lanes * width, kChunk / 32);
  return heads * floats * static_cast<int64_t>(sizeof(float));
}

// How many heads a thread block takes of those that share keys: as many as leave blocks for most
// multiprocessors, which then read the keys once for all.
int64_t heads_together(int64_t per_key, int64_t blocks, int64_t width, int64_t lanes) {
  constexpr int64_t kMost = 8, kMaxShared = 96 * 1024;
  for (int64_t heads = std::min(kMost, per_key); heads > 1; --heads)
    if (per_key % heads == 0 && blocks / heads * 4 >= multiprocessors() * 3 &&
        shared_bytes(width, lanes, heads) <= kMaxShared)
      return heads;
  return 1;
}

}  // namespace

static CompiledCudaKernel make_attention(const KernelCall& call) {
  const View &q = call.in(0), &k = call.in(1), &v = call.in(2), &out = call.out();
  const int64_t queries = q.shape[0], heads = q.shape[1], width = q.shape[2], keys = k.shape[0];
  const bool has_positions = call.inputs.size() == 4;
  const int64_t rows = queries * heads, chunks = blocks_for(keys, kChunk);
  if (rows * width == 0) return make_kernel({});
  const bool by_chunks = chunks > 1 && rows < 2 * multiprocessors();

  Constants constants;
  constants.add(queries).add(heads).add(keys).add(heads / k.shape[1]).add(chunks);
  for (const View* view : {&q, &k, &v, &out})
    for (int64_t stride : view->strides) constants.add(stride);
  constants.add(has_positions ? call.in(3).strides[0] : int64_t(0));
  constants.add(static_cast<int64_t>(call.spec.attributes.as<Op::attention>().causal));
  constants.add(attention_scale(call));

  Generated generated;
  if (by_chunks) {  // parts, and a counter for each row
    const int64_t words = rows * chunks * (2 + width) + rows;
    generated.scratch = PERI_TRY(Scratch::allocate(words * static_cast<int64_t>(sizeof(float))));
    PERI_TRY(check(cudaMemset(generated.scratch.data(), 0, static_cast<size_t>(words) * sizeof(float)),
                   "clearing a kernel's scratch memory"));
  }
  const size_t in = call.inputs.size();
  generated.text = "#include \"kernels/cuda/compute/attention.cuh\"\nusing namespace peri::kernels::cuda;\n";
  // By what a thread takes at once (Attending::kPack), whatever the accesses are.
  const int64_t taken = 16 / size_of(call.dtype());
  const auto lanes = static_cast<int64_t>(
      std::min<uint64_t>(kChunk, std::bit_ceil(static_cast<uint64_t>(blocks_for(width, taken)))));
  auto launches = [&](const std::string& name, int64_t pack) {
    const int64_t together = by_chunks ? heads_together(heads / k.shape[1], rows * chunks, width, lanes) : 1;
    generated.text += fmt::format(
        "using {} = Attending<{}, {}, {}, {}, {}, {}, {}>;\n", name, element(call.dtype()),
        has_positions ? element(call.inputs[3].dtype) : "i32", has_positions, width, pack, lanes, together);
    auto kernel = [&](const char* what, const std::string& arguments) {
      generated.text += fmt::format(
          "extern \"C\" __global__ void __launch_bounds__({}) {}_{}(const AddressArray<{}> a, const "
          "Attention "
          "c) {{\n"
          "  {}::{}({}, c);\n}}\n",
          kChunk, name, what, in + 2, name, what, arguments);
    };
    const std::string positions = has_positions ? "a.at[3]" : "nullptr", qkv = "a.at[0], a.at[1], a.at[2], ";
    const std::string result = fmt::format(", a.at[{}]", in), scratch = fmt::format(", a.at[{}]", in + 1);
    const int64_t shared = shared_bytes(width, lanes, together);
    const int threads = static_cast<int>(kChunk);
    if (!by_chunks) {
      kernel("whole", qkv + positions + result);
      return std::vector<Launch>{{name + "_whole", rows, threads, constants, shared}};
    }
    kernel("part", qkv + positions + result + scratch);
    return std::vector<Launch>{{name + "_part", rows / together * chunks, threads, constants, shared}};
  };
  const int64_t pack = pack_of(call, width);
  generated.launches = launches(pack > 1 ? "Packs" : "Elements", pack);
  if (pack > 1) generated.unaligned = launches("Elements", 1);
  generated.alignment = pack * size_of(call.dtype());
  return make_kernel(std::move(generated));
}

CompiledCudaKernel compile_attention(const KernelCall& call) {
  switch (op_of<AttentionOp>(call.spec.op)) {
    case AttentionOp::attention:
      return make_attention(call);
  }
  PERI_CHECK(false, "not an attention");
}

}  // namespace peri::kernels::cuda
