// sort and topk, for each line. Thread blocks sort tiles in shared memory by bitonic merges. A longer line is
// sorted by merging its tiles (sort), or by sorting what the tiles keep, in rounds until one tile is left
// (topk). Items differ in their positions, so the result does not depend on how it is found.
#pragma once

#include "kernels/compute/sort_order.hpp"
#include "kernels/cuda/nvrtc/source_elements.cuh"

namespace peri::kernels::cuda {

// All fields of what the host passes are 8 bytes wide.
template <int rank>
struct Sorting {
  Space<3, rank> lines;  // operands values, positions, in
  int64_t kept;
  int64_t values_stride, positions_stride, in_stride;
  int64_t items;           // of a line that are left in scratch; in the first launch its elements
  int64_t tiles;           // of a line
  int64_t from, to;        // where items lie in the scratch, in items
  int64_t size, distance;  // of a merge
};

template <class E, bool descending, int kTileItems, int kThreads>
struct Sorter {
  using Key = decltype(order_key(Register<E>()));
  struct Item {
    Key key;
    uint32_t position;
  };

  static bool follows(const Item& a, const Item& b) {
    return a.key != b.key ? a.key > b.key : a.position > b.position;
  }
  static Item none() { return {static_cast<Key>(~Key(0)), 0xFFFFFFFFu}; }
  static Item item_of(const byte* in, int64_t offset, int64_t position) {
    const Key key = order_key(load<E>(in, offset));
    return {descending ? static_cast<Key>(~key) : key, static_cast<uint32_t>(position)};
  }

  // Compares a pair of items `distance` apart and exchanges them if they are in the wrong order; `at` numbers
  // the pairs. Blocks of `size` items ascend and descend in turn. `first`: the line's item that items[0] is.
  template <class Index>
  static void exchange(Item* items, Index at, Index distance, int64_t size, int64_t first) {
    const Index low = at / distance * 2 * distance + at % distance, high = low + distance;
    const bool ascends = ((first + low) & size) == 0;
    const Item a = items[low], b = items[high];
    if (follows(a, b) == ascends) {
      items[low] = b;
      items[high] = a;
    }
  }
  static void exchange_in_tile(Item* tile, int distance, int64_t size, int64_t first) {
    for (int at = threadIdx.x; at < kTileItems / 2; at += kThreads) exchange(tile, at, distance, size, first);
    __syncthreads();
  }

  // What is known of this block's tile.
  struct Place {
    int64_t line, tile, first;
    int64_t offsets[3];
  };
  static Place place(const auto& p) {
    Place at;
    at.line = blockIdx.x / p.tiles;
    at.tile = blockIdx.x % p.tiles;
    at.first = at.tile * kTileItems;
    p.lines.locate(at.line, at.offsets);
    return at;
  }

  static void write(const byte* in, byte* values, byte* positions, const Place& at, int64_t i,
                    const Item& item, const auto& p) {
    reinterpret_cast<Memory<E>*>(values)[at.offsets[0] + i * p.values_stride] =
        reinterpret_cast<const Memory<E>*>(in)[at.offsets[2] + item.position * p.in_stride];
    store<i64>(positions, at.offsets[1] + i * p.positions_stride, item.position);
  }

  // Sorts tiles of the input (`first_round`), or of the items that are left of a line. The only tile of a
  // line is the result. Of several each keeps its first p.kept items, or all, ascending and descending in
  // turn, if `merges`.
  template <bool first_round, bool merges>
  static void tiles(const byte* in, byte* values, byte* positions, Item* scratch, const auto& p) {
    __shared__ Item tile[kTileItems];
    const Place at = place(p);
    for (int i = threadIdx.x; i < kTileItems; i += kThreads) {
      const int64_t position = at.first + i;
      if (position >= p.items)
        tile[i] = none();
      else if constexpr (first_round)
        tile[i] = item_of(in, at.offsets[2] + position * p.in_stride, position);
      else
        tile[i] = scratch[p.from + at.line * p.items + position];
    }
    __syncthreads();
    for (int size = 2; size <= kTileItems; size *= 2)
      for (int distance = size / 2; distance > 0; distance /= 2)
        exchange_in_tile(tile, distance, size, merges ? at.first : 0);
    if (p.tiles == 1) {
      for (int64_t i = threadIdx.x; i < p.kept; i += kThreads)
        write(in, values, positions, at, i, tile[i], p);
      return;
    }
    const int64_t count = merges ? kTileItems : p.kept;
    for (int64_t i = threadIdx.x; i < count; i += kThreads) scratch[p.to + blockIdx.x * count + i] = tile[i];
  }

  // One step of a merge of blocks of p.size items, of items p.distance apart: more than a tile.
  static void step(Item* scratch, const auto& p) {
    const int64_t pairs = p.tiles * (kTileItems / 2);
    const int64_t pair = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
    exchange(scratch + pair / pairs * p.tiles * kTileItems, pair % pairs, p.distance, p.size, 0);
  }

  // The steps of a merge that stay within a tile. The last merge, of whole lines, writes the result.
  static void merge(const byte* in, byte* values, byte* positions, Item* scratch, const auto& p) {
    __shared__ Item tile[kTileItems];
    const Place at = place(p);
    Item* mine = scratch + blockIdx.x * static_cast<int64_t>(kTileItems);
    for (int i = threadIdx.x; i < kTileItems; i += kThreads) tile[i] = mine[i];
    __syncthreads();
    for (int distance = kTileItems / 2; distance > 0; distance /= 2)
      exchange_in_tile(tile, distance, p.size, at.first);
    const bool is_last = p.size == p.tiles * kTileItems;
    for (int i = threadIdx.x; i < kTileItems; i += kThreads) {
      if (!is_last)
        mine[i] = tile[i];
      else if (at.first + i < p.kept)
        write(in, values, positions, at, at.first + i, tile[i], p);
    }
  }
};

}  // namespace peri::kernels::cuda
