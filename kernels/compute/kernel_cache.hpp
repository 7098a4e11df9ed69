// Compiled kernels by (spec, operand types), for every backend.
#pragma once

#include <algorithm>
#include <bit>
#include <memory>
#include <mutex>
#include <span>
#include <unordered_map>
#include <vector>

#include "core/error.hpp"
#include "core/hash.hpp"
#include "core/ops/kernel.hpp"

namespace peri::kernels {

template <class Kernel>
class KernelCache {
 public:
  // `before_clearing`: what must be done before kernels that may still be running are forgotten.
  explicit KernelCache(void (*before_clearing)() = [] {}) : before_clearing_(before_clearing) {}

  // The kernel of these types; `compile()` makes it if there is none. One thread compiles at a time.
  template <class Compile>
  Result<std::shared_ptr<const Kernel>> find(const KernelSpec& spec, std::span<const OperandType> inputs,
                                             std::span<const OperandType> outputs, Compile compile) {
    std::lock_guard lock(mutex_);
    if (auto found = kernels_.find(KeyView(spec, inputs, outputs)); found != kernels_.end())
      return found->second;
    std::shared_ptr<const Kernel> kernel = PERI_TRY(compile());
    if (kernels_.size() >= limit_) {
      before_clearing_();
      std::erase_if(kernels_, [](const auto& entry) { return entry.second.use_count() == 1; });
      limit_ = std::max(kMaxKernels, 2 * kernels_.size());
    }
    kernels_.emplace(Key{spec, {inputs.begin(), inputs.end()}, {outputs.begin(), outputs.end()}}, kernel);
    return kernel;
  }

 private:
  // Programs whose shapes keep changing would fill memory (a matrix product of oneDNN takes 100 KiB): then
  // those that no recording uses are forgotten.
  static constexpr size_t kMaxKernels = 1024;

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
      Hash hash;
      hash.mix(static_cast<uint64_t>(key.spec.op));
      for (const FusedInstruction& instruction : key.spec.fused.instructions) {
        hash.mix(static_cast<uint64_t>(instruction.op) << 8 | static_cast<uint64_t>(instruction.dtype));
        hash.mix(std::bit_cast<uint64_t>(instruction.value));
        for (int reg : instruction.operands) hash.mix(static_cast<uint64_t>(reg));
      }
      for (auto operands : {key.inputs, key.outputs})
        for (const OperandType& operand : operands) {
          hash.mix(static_cast<uint64_t>(operand.dtype));
          for (int64_t size : operand.view.shape) hash.mix(static_cast<uint64_t>(size));
          for (int64_t stride : operand.view.strides) hash.mix(static_cast<uint64_t>(stride));
        }
      return hash.value() ^ hash.value() >> 32;
    }
  };
  struct KeyEqual {
    using is_transparent = void;
    bool operator()(const KeyView& a, const KeyView& b) const {
      return std::ranges::equal(a.inputs, b.inputs) && std::ranges::equal(a.outputs, b.outputs) &&
             a.spec == b.spec;
    }
  };

  void (*before_clearing_)();
  std::mutex mutex_;
  size_t limit_ = kMaxKernels;
  std::unordered_map<Key, std::shared_ptr<const Kernel>, KeyHash, KeyEqual> kernels_;
};

}  // namespace peri::kernels
