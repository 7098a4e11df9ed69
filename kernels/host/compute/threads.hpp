// The threads that kernels run on: a small persistent pool with static partitioning, and scratch memory per
// thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace peri::kernels::host {

inline constexpr int kMaxThreads = 256;

int thread_count();

namespace detail {
// Calls `task(context, part)` for part = 0 .. parts - 1: part 0 on the caller's thread, each of the others on
// its own, or on the caller's if that is done before the other has begun.
void run_parts(int parts, void (*task)(void*, int), void* context);
}  // namespace detail

// How many parts `parallel_for` makes of `count` items: at most one per thread, none smaller than `grain`
// items.
inline int part_count(int64_t count, int64_t grain) {
  int64_t most = count / (grain < 1 ? 1 : grain);
  return static_cast<int>(most < 1 ? 1 : most < thread_count() ? most : thread_count());
}

// Calls body(begin, end) on ranges that cover [0, count), one per thread; body(begin, end, part) if it takes
// three. With one part it runs on the caller and touches no lock. The body must give the same result however
// the range is cut.
template <class Body>
void parallel_for(int64_t count, int64_t grain, Body&& body) {
  if (count <= 0) return;
  const int parts = part_count(count, grain);
  auto run_part = [&](int part) {
    const int64_t begin = count * part / parts, end = count * (part + 1) / parts;
    if constexpr (std::is_invocable_v<Body, int64_t, int64_t, int>)
      body(begin, end, part);
    else
      body(begin, end);
  };
  if (parts == 1) return run_part(0);
  detail::run_parts(
      parts, [](void* context, int part) { (*static_cast<decltype(run_part)*>(context))(part); }, &run_part);
}

// This thread's scratch memory, 64-byte aligned, contents undefined; it stays the thread's and only ever
// grows, so that after the first run of the largest kernel nothing is allocated. One user at a time: a body
// asks once for all it needs.
std::byte* thread_scratch(int64_t bytes);

}  // namespace peri::kernels::host
