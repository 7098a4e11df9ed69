// sort and topk: how many tiles a line has, and the launches that sort and join them.
#include <algorithm>
#include <bit>

#include <fmt/format.h>

#include "core/ops/attributes_of.hpp"
#include "kernels/compute/kernel_forms.hpp"
#include "kernels/cuda/compute/kernel_compile.hpp"

namespace peri::kernels::cuda {
namespace {

constexpr int64_t kMaxTile = 2048, kMinTile = 64;  // items
constexpr int kMaxThreads = 512;

// The launches and the items of scratch that they need.
struct Schedule {
  std::vector<Launch> launches;
  int64_t scratch_items = 0;
};

class Sort {
 public:
  Sort(SortedLines sorted, int64_t tile) : sorted_(std::move(sorted)), tile_(tile) {}

  int threads() const { return static_cast<int>(std::min<int64_t>(kMaxThreads, tile_ / 2)); }
  // Rounds get anywhere only where a tile keeps less than half of itself.
  bool in_rounds() const { return sorted_.kept <= tile_ / 2; }
  Schedule schedule() const { return in_rounds() ? rounds() : merges(); }

 private:
  struct Step {
    int64_t items, tiles, from = 0, to = 0, size = 0, distance = 0;
  };
  Launch launch(const char* entry, int64_t grid, const Step& step) const {
    Constants constants;
    constants.add(sorted_.lines).add(sorted_.kept);
    constants.add(sorted_.values_stride).add(sorted_.positions_stride).add(sorted_.in_stride);
    constants.add(step.items).add(step.tiles).add(step.from).add(step.to).add(step.size).add(step.distance);
    return {entry, grid, threads(), constants};
  }

  // Each round keeps the best of each tile, until a line is one tile. Rounds write to the two halves of the
  // scratch in turn.
  Schedule rounds() const {
    const int64_t lines = sorted_.lines.total();
    Schedule schedule;
    Step step{.items = sorted_.length, .tiles = blocks_for(sorted_.length, tile_)};
    const int64_t half = step.tiles == 1 ? 0 : lines * step.tiles * sorted_.kept;
    schedule.scratch_items = 2 * half;
    schedule.launches.push_back(launch("first", lines * step.tiles, step));
    while (step.tiles > 1) {
      step.items = step.tiles * sorted_.kept;
      step.tiles = blocks_for(step.items, tile_);
      step.from = step.to;
      step.to = half - step.from;
      schedule.launches.push_back(launch("next", lines * step.tiles, step));
    }
    return schedule;
  }

  // Bitonic: blocks of two tiles, four, ... each in steps, the last of which stay within a tile.
  Schedule merges() const {
    const int64_t lines = sorted_.lines.total();
    Schedule schedule;
    Step step{.items = sorted_.length,
              .tiles = static_cast<int64_t>(
                  std::bit_ceil(static_cast<uint64_t>(blocks_for(sorted_.length, tile_))))};
    schedule.scratch_items = step.tiles == 1 ? 0 : lines * step.tiles * tile_;
    schedule.launches.push_back(launch("first", lines * step.tiles, step));
    for (step.size = 2 * tile_; step.size <= step.tiles * tile_; step.size *= 2) {
      for (step.distance = step.size / 2; step.distance >= tile_; step.distance /= 2)
        schedule.launches.push_back(launch("step", lines * step.tiles * (tile_ / 2) / threads(), step));
      schedule.launches.push_back(launch("merge", lines * step.tiles, step));
    }
    return schedule;
  }

  SortedLines sorted_;
  int64_t tile_;
};

}  // namespace

CompiledCudaKernel compile_sorting(const KernelCall& call) {
  const SortedLines sorted = PERI_TRY(sorted_lines(call));
  if (sorted.kept == 0 || sorted.lines.total() == 0) return make_kernel({});
  const auto length = static_cast<uint64_t>(sorted.length);
  const int64_t tile = std::clamp(static_cast<int64_t>(std::bit_ceil(length)), kMinTile, kMaxTile);
  const Sort sort(sorted, tile);
  Schedule schedule = sort.schedule();
  Generated generated;
  const int64_t item_bytes = is_float(call.dtype()) ? 8 : 16;
  if (schedule.scratch_items > 0)
    generated.scratch = PERI_TRY(Scratch::allocate(schedule.scratch_items * item_bytes));
  const int addresses = schedule.scratch_items > 0 ? 4 : 3;  // without scratch, nothing is read of it
  generated.text = fmt::format(
      "#include \"kernels/cuda/compute/sort.cuh\"\nusing namespace peri::kernels::cuda;\n"
      "using S = Sorter<{}, {}, {}, {}>;\nusing C = Sorting<{}>;\nusing A = AddressArray<{}>;\n"
      "S::Item* items(const A& a) {{ return reinterpret_cast<S::Item*>(a.at[{}]); }}\n"
      "extern \"C\" __global__ void first(const A a, const C c) {{\n"
      "  S::tiles<true, {}>(a.at[0], a.at[1], a.at[2], items(a), c);\n}}\n"
      "extern \"C\" __global__ void next(const A a, const C c) {{\n"
      "  S::tiles<false, false>(a.at[0], a.at[1], a.at[2], items(a), c);\n}}\n"
      "extern \"C\" __global__ void step(const A a, const C c) {{ S::step(items(a), c); }}\n"
      "extern \"C\" __global__ void merge(const A a, const C c) {{\n"
      "  S::merge(a.at[0], a.at[1], a.at[2], items(a), c);\n}}\n",
      element(call.dtype()), sorted.descending, tile, sort.threads(), rank_of(sorted.lines), addresses,
      addresses - 1, !sort.in_rounds());
  generated.launches = std::move(schedule.launches);
  return make_kernel(std::move(generated));
}

}  // namespace peri::kernels::cuda
