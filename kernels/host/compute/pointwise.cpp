// Pointwise programs, evaluated tile by tile: the operands' tiles are loaded, each instruction runs over the
// whole tile in one vectorised loop, the results are stored. Every value is rounded to its dtype, so that
// fusing changes no bit.
#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "kernels/compute/space.hpp"
#include "kernels/host/compute/compile.hpp"
#include "kernels/host/compute/threads.hpp"
#include "kernels/host/compute/tile_ops.hpp"
#include "kernels/host/simd/elements.hpp"

namespace peri::kernels::host {
namespace {

// Tiles are as long as their slots fit in so much of L1.
constexpr int64_t kSlotsBytes = 24 * 1024;
constexpr int64_t kMaxTile = 8 * kTile;
// Where no slot needs scratch memory, a tile is all that there is.
constexpr int64_t kWholeRun = int64_t{1} << 30;
// Rows shorter than this share a tile; longer ones are cut, so that their elements can be used where they
// lie.
constexpr int64_t kShortRow = kTile / 2;
// Instructions times elements below which a second thread does not pay.
constexpr int64_t kGrain = 64 * 1024;

// One loop over a tile. Slots hold tiles; a slot's address is fixed scratch or, set per tile, the operand's
// own memory.
struct Step {
  TileOp op = nullptr;        // an op of the table, or
  RoundTile round = nullptr;  // a rounding or cast of in[0]
  int out;
  std::array<int, 3> in;
};

struct Load {
  LoadTile load;
  int64_t size, register_size;
  int operand, slot;
  enum { once, in_place, per_tile } when;
};

struct Store {
  StoreTile store;
  int64_t size, register_size;
  int output, slot;
  bool in_place;  // the last step writes to the output itself
};

class PointwiseKernel final : public Kernel {
 public:
  // Operands of `space`: the outputs, then the inputs.
  Space space;
  int outputs;
  std::vector<Load> loads;
  std::vector<std::pair<int, float>> float_immediates;
  std::vector<std::pair<int, int64_t>> integer_immediates;
  std::vector<Step> steps;
  std::vector<Store> stores;
  int slots = 0;
  int64_t tile_length = kTile;

  void run(Addresses inputs, Addresses out) const override {
    const int64_t work = std::max<int64_t>(1, static_cast<int64_t>(steps.size()));
    if (row_length() == 0)
      parallel_for(space.total(), kGrain / work, [&](int64_t begin, int64_t end) {
        Worker worker(*this, inputs, out);
        for (int64_t at = begin; at < end; at += tile_length)
          worker.tile(at, std::min(tile_length, end - at));
      });
    else
      parallel_for(space.total(), kGrain / work, [&](int64_t begin, int64_t end) {
        Worker worker(*this, inputs, out);
        while (begin < end) {  // tiles end with their row
          const int64_t left = row_length() - begin % row_length();
          const int64_t count = std::min({tile_length, left, end - begin});
          worker.tile(begin, count);
          begin += count;
        }
      });
  }

  // The length of a row that tiles may not cross; 0 if they may.
  int64_t row_length() const {
    return space.shape.rank() > 1 && space.inner() >= kShortRow ? space.inner() : 0;
  }
  // Whether every tile of an operand is one contiguous run.
  bool tiles_are_runs(int operand) const {
    return space.is_contiguous(operand) || (row_length() > 0 && space.inner_stride(operand) == 1);
  }

 private:
  class Worker {
   public:
    Worker(const PointwiseKernel& kernel, Addresses inputs, Addresses outputs)
        : kernel_(kernel), inputs_(inputs), outputs_(outputs) {
      const int64_t table = (kernel.slots * static_cast<int64_t>(sizeof(void*)) + 63) / 64 * 64;
      // Of a small tensor no more than a tile of it is filled below.
      const int64_t length = std::min(kernel.tile_length, (kernel.space.total() + kTile - 1) / kTile * kTile);
      const int64_t slot_bytes = kernel.tile_length == kWholeRun ? 0 : length * kRegisterBytes;
      std::byte* scratch = thread_scratch(table + kernel.slots * slot_bytes);
      slots_ = reinterpret_cast<std::byte**>(scratch);
      for (int i = 0; i < kernel.slots; ++i) slots_[i] = scratch + table + i * slot_bytes;
      for (auto [slot, value] : kernel.float_immediates)
        std::fill_n(reinterpret_cast<float*>(slots_[slot]), length, value);
      for (auto [slot, value] : kernel.integer_immediates)
        std::fill_n(reinterpret_cast<int64_t*>(slots_[slot]), length, value);
      for (const Load& load : kernel.loads)
        if (load.when == Load::once) load.load(slots_[load.slot], inputs[load.operand], 0, length);
    }

    void tile(int64_t begin, int64_t count) {
      const Space& space = kernel_.space;
      for (const Load& load : kernel_.loads) {
        const int operand = kernel_.outputs + load.operand;
        if (load.when == Load::once) continue;
        if (load.when == Load::in_place) {
          slots_[load.slot] = inputs_[load.operand] + space.offset(operand, begin) * load.size;
          continue;
        }
        for_each_run(space, operand, begin, count, [&](int64_t done, int64_t n, int64_t offset) {
          load.load(slots_[load.slot] + done * load.register_size, inputs_[load.operand] + offset * load.size,
                    space.inner_stride(operand), n);
        });
      }
      for (const Store& store : kernel_.stores)
        if (store.in_place)
          slots_[store.slot] = outputs_[store.output] + space.offset(store.output, begin) * store.size;
      for (const Step& step : kernel_.steps) {
        const void* in[3] = {slots_[step.in[0]], slots_[step.in[1]], slots_[step.in[2]]};
        if (step.op)
          step.op(slots_[step.out], in, count);
        else
          step.round(slots_[step.out], in[0], count);
      }
      for (const Store& store : kernel_.stores) {
        if (store.in_place) continue;
        for_each_run(space, store.output, begin, count, [&](int64_t done, int64_t n, int64_t offset) {
          store.store(slots_[store.slot] + done * store.register_size,
                      outputs_[store.output] + offset * store.size, space.inner_stride(store.output), n);
        });
      }
    }

   private:
    const PointwiseKernel& kernel_;
    Addresses inputs_, outputs_;
    std::byte** slots_;
  };
};

// Turns a program's registers into slots and steps. Registers that hold the same value (a cast that changes
// nothing) share a slot, and a temporary's slot is used again once its value is dead.
class Lowering {
 public:
  Lowering(const FusedProgram& program, PointwiseKernel& kernel) : program_(program), kernel_(kernel) {
    const size_t operands = program.operand_dtypes.size();
    dtypes_ = program.operand_dtypes;
    for (size_t i = 0; i < operands + program.instructions.size(); ++i)
      values_.push_back(static_cast<int>(i));
    for (size_t i = 0; i < program.instructions.size(); ++i) {
      const FusedInstruction& instruction = program.instructions[i];
      if (instruction.op == Op::cast && !cast_tile(dtypes_[instruction.operands[0]], instruction.dtype))
        values_[operands + i] = values_[instruction.operands[0]];
      dtypes_.push_back(instruction.dtype);
    }
    last_use_.assign(values_.size(), -1);
    stored_.assign(values_.size(), false);
    for (size_t i = 0; i < program.instructions.size(); ++i)
      for (int reg : program.instructions[i].operands) last_use_[values_[reg]] = static_cast<int>(i);
    for (int reg : program.results) stored_[values_[reg]] = true;
    slots_.assign(values_.size(), -1);
  }

  void run() {
    add_loads();
    for (size_t i = 0; i < program_.instructions.size(); ++i) add_instruction(static_cast<int>(i));
    add_stores();
    kernel_.tile_length = tile_length();
  }

 private:
  bool is_used(int value) const { return last_use_[value] >= 0 || stored_[value]; }

  void add_loads() {
    for (size_t i = 0; i < program_.operand_dtypes.size(); ++i) {
      if (!is_used(static_cast<int>(i))) continue;
      const DType dtype = dtypes_[i];
      const int operand = kernel_.outputs + static_cast<int>(i);
      const Strides& strides = kernel_.space.strides[operand];
      auto when = Load::per_tile;
      if (std::all_of(strides.begin(), strides.end(), [](int64_t stride) { return stride == 0; }))
        when = Load::once;
      // An operand that is a result too is copied first: an output stored before it may have its memory.
      else if (is_register(dtype) && kernel_.tiles_are_runs(operand) && !stored_[i])
        when = Load::in_place;
      slots_[i] = kernel_.slots++;
      kernel_.loads.push_back(
          {load_tile(dtype), size_of(dtype), register_size(dtype), static_cast<int>(i), slots_[i], when});
    }
  }

  void add_instruction(int index) {
    const FusedInstruction& instruction = program_.instructions[index];
    const int reg = static_cast<int>(program_.operand_dtypes.size()) + index;
    if (values_[reg] != reg || !is_used(reg)) return;
    if (instruction.op == Op::full) return add_immediate(reg, instruction);

    // A result's slot is its own, since the last step's may be the output itself.
    if (free_.empty() || stored_[reg]) {
      slots_[reg] = kernel_.slots++;
    } else {
      slots_[reg] = free_.back();
      free_.pop_back();
    }
    Step step{nullptr, nullptr, slots_[reg], {}};
    for (size_t i = 0; i < instruction.operands.size(); ++i)
      step.in[i] = slots_[values_[instruction.operands[i]]];
    if (instruction.op == Op::cast)
      step.round = cast_tile(dtypes_[instruction.operands[0]], instruction.dtype);
    else
      step.op = tile_op(instruction.op, dtypes_[instruction.operands.back()]);
    kernel_.steps.push_back(step);
    // What is only stored is rounded by the store.
    RoundTile round =
        instruction.op == Op::cast || last_use_[reg] < 0 ? nullptr : round_tile(instruction.dtype);
    if (round) kernel_.steps.push_back({nullptr, round, slots_[reg], {slots_[reg]}});

    // Only now, so that no step writes a slot of another register size while it reads it.
    for (int operand : instruction.operands) {
      const int value = values_[operand];
      const bool is_temporary = value >= static_cast<int>(program_.operand_dtypes.size()) &&
                                program_.instructions[value - program_.operand_dtypes.size()].op != Op::full;
      if (is_temporary && last_use_[value] == index && !stored_[value] && !is_free(slots_[value]))
        free_.push_back(slots_[value]);
    }
  }

  void add_immediate(int reg, const FusedInstruction& instruction) {
    slots_[reg] = kernel_.slots++;
    if (is_float(instruction.dtype))
      kernel_.float_immediates.emplace_back(slots_[reg],
                                            float_register(instruction.dtype, instruction.value));
    else
      kernel_.integer_immediates.emplace_back(slots_[reg],
                                              integer_register(instruction.dtype, instruction.value));
  }

  void add_stores() {
    for (size_t i = 0; i < program_.results.size(); ++i) {
      const int reg = program_.results[i], slot = slots_[values_[reg]];
      const DType dtype = dtypes_[reg];
      // The last step may write to the output's memory: nothing is read after it, so even an operand may lie
      // there.
      const bool in_place = is_register(dtype) && kernel_.tiles_are_runs(static_cast<int>(i)) &&
                            !kernel_.steps.empty() && kernel_.steps.back().out == slot && !wrote_in_place_;
      wrote_in_place_ |= in_place;
      kernel_.stores.push_back(
          {store_tile(dtype), size_of(dtype), register_size(dtype), static_cast<int>(i), slot, in_place});
    }
  }

  int64_t tile_length() const {
    auto in_place = [](const auto& transfers, auto is_in_place) {
      return static_cast<int>(std::count_if(transfers.begin(), transfers.end(), is_in_place));
    };
    const int scratch_slots =
        kernel_.slots -
        in_place(kernel_.loads, [](const Load& load) { return load.when == Load::in_place; }) -
        in_place(kernel_.stores, [](const Store& store) { return store.in_place; });
    if (scratch_slots == 0) return kWholeRun;
    const bool floats = std::all_of(dtypes_.begin(), dtypes_.end(), is_float);
    const int64_t fit = kSlotsBytes / (scratch_slots * (floats ? 4 : kRegisterBytes));
    return std::clamp(fit / kTile * kTile, kTile, kMaxTile);
  }

  bool is_free(int slot) const { return std::find(free_.begin(), free_.end(), slot) != free_.end(); }

  const FusedProgram& program_;
  PointwiseKernel& kernel_;
  std::vector<DType> dtypes_;  // per register
  std::vector<int> values_;    // per register: the register that first held its value
  std::vector<int> last_use_;  // per value: the last instruction that reads it, or -1
  std::vector<char> stored_;   // per value: whether it is a result
  std::vector<int> slots_;     // per value
  std::vector<int> free_;
  bool wrote_in_place_ = false;
};

}  // namespace

CompiledHostKernel compile_pointwise(const KernelCall& call) {
  auto kernel = std::make_unique<PointwiseKernel>();
  Space space{call.out().shape, {}};
  for (const OperandType& output : call.outputs) space.strides.push_back(output.view.strides);
  for (const OperandType& input : call.inputs)
    space.strides.push_back(broadcast_to(input.view, space.shape).strides);
  kernel->space = reordered(std::move(space));
  kernel->outputs = static_cast<int>(call.outputs.size());
  Lowering(call.spec.fused, *kernel).run();
  return kernel;
}

}  // namespace peri::kernels::host
