// From a spec to a kernel: checks the call against the op table's own rules, picks the family, and keeps what
// was compiled.
#include "kernels/host/kernel.hpp"

#include <algorithm>
#include <mutex>
#include <unordered_map>

#include <fmt/format.h>

#include "kernels/host/compile.hpp"

namespace peri::host {
namespace {

// The compiler of each op that is not pointwise; nullptr: not a compute kernel (views, collectives, sources,
// composites).
Compiled (*family(Op op))(const Call&) {
  switch (op) {
    case Op::full:
    case Op::arange:
    case Op::rand:
    case Op::randn:
      return compile_creation;
    case Op::sum:
    case Op::mean:
    case Op::prod:
    case Op::max:
    case Op::min:
      return compile_reduction;
    case Op::argmax:
    case Op::argmin:
      return compile_position;
    case Op::softmax:
    case Op::rms_norm:
    case Op::layer_norm:
      return compile_rows;
    case Op::matmul:
      return compile_matmul;
    case Op::embedding:
    case Op::index_select:
      return compile_select;
    case Op::index_copy:
      return compile_index_copy;
    case Op::contiguous:
    case Op::cat:
      return compile_copy;
    case Op::rope:
      return compile_rope;
    case Op::attention:
      return compile_attention;
#define PERI_POINTWISE(name, ...) case Op::name:
#define PERI_OP(...)
#include "core/ops.def"
      return nullptr;  // reaches the kernels as a fused program
    case Op::input:
    case Op::constant:
    case Op::linear:
    case Op::reshape:
    case Op::permute:
    case Op::slice:
    case Op::expand:
    case Op::shard:
    case Op::transpose:
    case Op::stack:
    case Op::copy_to:
    case Op::all_reduce:
    case Op::all_gather:
    case Op::reduce_scatter:
    case Op::all_to_all:
    case Op::broadcast:
    case Op::send:
    case Op::recv:
    case Op::barrier:
      return nullptr;
  }
  return nullptr;
}

Status check_layouts(const Call& call) {
  auto check = [&](const OperandType& operand, const char* role) -> Status {
    PERI_TRY(checked_numel(operand.view.shape));
    if (operand.view.shape.rank() == operand.view.strides.rank()) return {};
    return fail(Code::InvalidArgument,
                fmt::format("{}: an {} of shape {} has strides {}", call.spec.name(), role,
                            operand.view.shape.to_string(), operand.view.strides.to_string()));
  };
  for (const OperandType& input : call.inputs) PERI_TRY(check(input, "input"));
  for (const OperandType& output : call.outputs) PERI_TRY(check(output, "output"));
  return {};
}

// The attributes completed, the op's own rule kept, and the output what the rule says.
Result<Attributes> check_types(const Call& call) {
  if (call.outputs.size() != 1)
    return fail(Code::InvalidArgument, fmt::format("makes one output, not {}", call.outputs.size()));
  std::vector<TensorType> types;
  for (const OperandType& input : call.inputs) types.push_back({input.dtype, input.view.shape});
  Attributes attributes = PERI_TRY(complete(call.spec.op, call.spec.attributes, types));
  const TensorType rule = PERI_TRY(infer(call.spec.op, types, attributes)),
                   made{call.dtype(), call.out().shape};
  if (made.dtype != rule.dtype || made.shape != rule.shape)
    return fail(made.dtype != rule.dtype ? Code::DTypeMismatch : Code::ShapeMismatch,
                fmt::format("makes {}, and the output is {}", rule.to_string(), made.to_string()));
  return attributes;
}

Compiled compile(const Call& call) {
  PERI_TRY(check_layouts(call));
  if (call.spec.is_fused()) return compile_pointwise(call);
  auto* compile_op = family(call.spec.op);
  if (!compile_op)
    return fail(Code::InvalidArgument, fmt::format("{} is not a compute kernel", to_string(call.spec.op)));
  Result<Attributes> attributes = check_types(call);
  if (!attributes) {
    attributes.error().message = fmt::format("{}: {}", to_string(call.spec.op), attributes.error().message);
    return std::unexpected(std::move(attributes).error());
  }
  const KernelSpec spec{call.spec.op, std::move(*attributes), {}};
  return compile_op({spec, call.inputs, call.outputs});
}

// --- the cache ---

struct Key {
  KernelSpec spec;
  std::vector<OperandType> inputs, outputs;
};
struct KeyView {
  const KernelSpec& spec;
  std::span<const OperandType> inputs, outputs;
  KeyView(const KernelSpec& s, std::span<const OperandType> in, std::span<const OperandType> out)
      : spec(s), inputs(in), outputs(out) {}
  KeyView(const Key& key) : spec(key.spec), inputs(key.inputs), outputs(key.outputs) {}
};

struct KeyHash {
  using is_transparent = void;
  size_t operator()(const KeyView& key) const {
    uint64_t hash = 0xCBF29CE484222325u;  // FNV-1a, a word at a time
    auto mix = [&](uint64_t word) { hash = (hash ^ word) * 0x100000001B3u; };
    mix(static_cast<uint64_t>(key.spec.op));
    for (const FusedInstruction& instruction : key.spec.fused.instructions) {
      mix(static_cast<uint64_t>(instruction.op) << 8 | static_cast<uint64_t>(instruction.dtype));
      mix(std::bit_cast<uint64_t>(instruction.value));
      for (int reg : instruction.operands) mix(static_cast<uint64_t>(reg));
    }
    for (auto operands : {key.inputs, key.outputs})
      for (const OperandType& operand : operands) {
        mix(static_cast<uint64_t>(operand.dtype));
        for (int64_t size : operand.view.shape) mix(static_cast<uint64_t>(size));
        for (int64_t stride : operand.view.strides) mix(static_cast<uint64_t>(stride));
      }
    return hash ^ hash >> 32;
  }
};
struct KeyEqual {
  using is_transparent = void;
  bool operator()(const KeyView& a, const KeyView& b) const {
    return std::ranges::equal(a.inputs, b.inputs) && std::ranges::equal(a.outputs, b.outputs) &&
           a.spec == b.spec;
  }
};

// Programs whose shapes keep changing would fill memory: then everything is compiled anew. Kernels in use
// live on with their users.
constexpr size_t kMostKernels = 4096;

struct Cache {
  std::mutex mutex;
  std::unordered_map<Key, std::shared_ptr<const Kernel>, KeyHash, KeyEqual> kernels;
};

Cache& cache() {
  static Cache cache;
  return cache;
}

}  // namespace

Result<std::shared_ptr<const Kernel>> compile_kernel(const KernelSpec& spec,
                                                     std::span<const OperandType> inputs,
                                                     std::span<const OperandType> outputs) {
  std::lock_guard lock(cache().mutex);
  auto& kernels = cache().kernels;
  if (auto found = kernels.find(KeyView(spec, inputs, outputs)); found != kernels.end()) return found->second;
  std::shared_ptr<const Kernel> kernel = PERI_TRY(compile({spec, inputs, outputs}));
  if (kernels.size() >= kMostKernels) kernels.clear();
  kernels.emplace(Key{spec, {inputs.begin(), inputs.end()}, {outputs.begin(), outputs.end()}}, kernel);
  return kernel;
}

}  // namespace peri::host
