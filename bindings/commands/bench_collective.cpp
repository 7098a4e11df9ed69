// One measurement of `peri bench`: one size of one algorithm over all ranks, whose result is checked.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <sstream>

#include "bindings/commands/bench.hpp"

namespace peri::commands {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kBatches = 21;
constexpr int64_t kChain = 20;  // calls in one recording, where a call is enqueued rather than done

// In [-1, 1), and the same in the peer program.
float random_element(int rank, int64_t index) {
  uint64_t x = static_cast<uint64_t>(index) * 0x9E3779B97F4A7C15u +
               static_cast<uint64_t>(rank + 1) * 0xC2B2AE3D27D4EB4Fu;
  x = (x ^ (x >> 31)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 29)) * 0x94D049BB133111EBu;
  return static_cast<float>(static_cast<double>(x >> 40) / (1 << 23) - 1);
}

// What a dtype that is measured needs: elements as numbers, the error of one rounding, how often a value may
// double.
struct Measured {
  void (*store)(std::byte* data, int64_t index, float value);
  double (*load)(const std::byte* data, int64_t index);
  double rounding;
  int doublings;
};
template <class T>
T* elements(std::byte* data) {
  return reinterpret_cast<T*>(data);
}
template <class T>
const T* elements(const std::byte* data) {
  return reinterpret_cast<const T*>(data);
}
// nullptr for what is not measured.
const Measured* measured(DType dtype) {
  static constexpr Measured kF32{
      [](std::byte* data, int64_t i, float value) { elements<float>(data)[i] = value; },
      [](const std::byte* data, int64_t i) -> double { return elements<float>(data)[i]; }, 1e-6, 120};
  static constexpr Measured kF16{
      [](std::byte* data, int64_t i, float value) { elements<uint16_t>(data)[i] = f32_to_f16(value); },
      [](const std::byte* data, int64_t i) -> double { return f16_to_f32(elements<uint16_t>(data)[i]); },
      0x1p-11, 14};
  static constexpr Measured kBf16{
      [](std::byte* data, int64_t i, float value) { elements<uint16_t>(data)[i] = f32_to_bf16(value); },
      [](const std::byte* data, int64_t i) -> double { return bf16_to_f32(elements<uint16_t>(data)[i]); },
      0x1p-8, 120};
  switch (dtype) {
    case DType::f32:
      return &kF32;
    case DType::f16:
      return &kF16;
    case DType::bf16:
      return &kBf16;
    case DType::i32:
    case DType::i64:
    case DType::u8:
    case DType::boolean:
      return nullptr;
  }
  return nullptr;
}

double median(std::vector<double> values) {
  auto middle = values.begin() + static_cast<int64_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// One algorithm at one size: its memory, its recording, its times.
class Measurement {
 public:
  Measurement(kernels::Backend& backend, CollectiveSpec spec, DType dtype, int64_t bytes)
      : backend_(backend),
        spec_(std::move(spec)),
        dtype_(dtype),
        format_(*measured(dtype)),
        at_once_(backend.name() == "host"),
        in_place_(spec_.algorithm->clobbers_input),
        chain_(at_once_    ? 1
               : in_place_ ? std::min(kChain, calls_in_range())
                           : kChain) {
    // Everything lies along dimension 0.
    const int64_t part = std::max<int64_t>(bytes / size_of(dtype) / ranks(), 1), whole = part * ranks();
    const Parts input = spec_.info().input, output = spec_.info().output;
    input_elements_ = input == Parts::whole && output == Parts::per_member ? part : whole;
    output_elements_ = input == Parts::per_member && output == Parts::whole ? part : whole;
    part_elements_ = part;
    // As many calls as move 16 MiB on the host, 1 GiB on a device, in a batch.
    const int64_t calls = (at_once_ ? 16 << 20 : 1 << 30) / std::max<int64_t>(bytes, 1);
    replays_ = at_once_ ? std::clamp<int64_t>(calls, 1, 200) : std::clamp<int64_t>(calls, 40, 400) / chain_;
  }

  // On the host a call is done when it returns, and is timed alone. On a device a recording holds many calls,
  // after a copy of the input where they overwrite it, and that copy is timed.
  Status prepare() {
    PERI_TRY(allocate());
    std::vector<kernels::ProgramStep> steps;
    if (!at_once_ && in_place_)
      steps.push_back(kernels::CopyStep{operand(*pristine_, input_elements_), in_, {}});
    for (int64_t i = 0; i < chain_; ++i) steps.push_back(kernels::CollectiveStep{spec_, {in_}, {out_}});
    recording_ = PERI_TRY(backend_.prepare(steps, kernels::Marks::none));
    return {};
  }

  // Microseconds per call, of the slowest rank, by batch.
  Result<std::vector<double>> run() {
    std::string mine;
    for (int batch = -2; batch < kBatches; ++batch) {  // the first two warm up
      PERI_TRY(backend_.exchange(spec_.group, "", "bench"));
      const double spent = PERI_TRY(run_batch());
      if (batch >= 0) mine += fmt::format("{} ", spent / static_cast<double>(replays_ * chain_));
    }
    std::vector<double> slowest(kBatches, 0);
    for (const std::string& theirs : PERI_TRY(backend_.exchange(spec_.group, mine, "bench results"))) {
      std::istringstream numbers(theirs);
      for (double& s : slowest) {
        double t = 0;
        numbers >> t;
        s = std::max(s, t);
      }
    }
    return slowest;
  }

  Status check() {
    PERI_TRY(backend_.copy(out_, operand(*host_output_, output_elements_)));
    // What further calls in place have multiplied the result by, each adding equal terms, which rounds unless
    // their number is a power of two.
    const double factor = in_place_ ? std::pow(ranks(), chain_ - 1) : 1;
    const bool rounds = factor != 1 && (ranks() & (ranks() - 1)) != 0;
    const double epsilon = format_.rounding * ranks() * factor * (rounds ? static_cast<double>(kChain) : 1);
    for (int64_t i = 0; i < output_elements_; ++i) {
      const double want = expected(i) * factor, got = format_.load(host_output_->data(), i);
      if (!(std::abs(got - want) <= epsilon))
        return fail(Code::PlanInvalid, fmt::format("element {} is {}, not {}", i, got, want));
    }
    return {};
  }

  double bus_bandwidth(double microseconds) const {
    const int64_t moved = std::max(input_elements_, output_elements_) * size_of(dtype_);
    return static_cast<double>(moved) * spec_.info().bus_factor(ranks()) / microseconds / 1e3;
  }

 private:
  int ranks() const { return spec_.group.size(); }
  int rank() const { return backend_.job().rank; }

  // How many calls in place may follow each other before sums of as many equal terms as there are ranks leave
  // the type's range.
  int64_t calls_in_range() const {
    return static_cast<int64_t>(format_.doublings / std::log2(std::max(ranks(), 2)));
  }

  kernels::Operand operand(const kernels::Storage& storage, int64_t count) const {
    return {storage.data(), {dtype_, View::contiguous({count})}};
  }
  Bytes size(int64_t count) const { return bytes_of(Elements(count), dtype_); }
  Result<std::shared_ptr<kernels::Storage>> storage(int64_t count, SymmetricOperand as) {
    return spec_.algorithm->symmetric == as ? backend_.allocate_symmetric(size(count), spec_.group)
                                            : backend_.allocate(size(count), Place::device);
  }

  // The operands; the input and the result where the CPU reads them; and the input again where a recording
  // may copy it.
  Status allocate() {
    input_ = PERI_TRY(storage(input_elements_, kInput));
    // Algorithms that overwrite their input work in place, as plans use them.
    output_ = in_place_ ? input_ : PERI_TRY(storage(output_elements_, kOutput));
    in_ = operand(*input_, input_elements_);
    out_ = operand(*output_, output_elements_);
    host_input_ = PERI_TRY(backend_.allocate(size(input_elements_), Place::host));
    host_output_ = PERI_TRY(backend_.allocate(size(output_elements_), Place::host));
    pristine_ = PERI_TRY(backend_.allocate(size(input_elements_), Place::device));
    for (int64_t i = 0; i < input_elements_; ++i)
      format_.store(host_input_->data(), i, random_element(rank(), i));
    const kernels::Operand from = operand(*host_input_, input_elements_);
    PERI_TRY(backend_.copy(from, operand(*pristine_, input_elements_)));
    return backend_.copy(from, in_);
  }

  // Microseconds of all replays of one batch.
  Result<double> run_batch() {
    Clock::duration spent{};
    auto begin = Clock::now();
    for (int64_t i = 0; i < replays_; ++i) {
      // Before every call on the host the input is written anew, untimed: one that nobody has written since
      // would stay in the readers' caches.
      if (at_once_) {
        std::copy_n(host_input_->data(), input_elements_ * size_of(dtype_), in_.data);
        begin = Clock::now();
      }
      PERI_TRY(backend_.replay(*recording_));
      if (at_once_) spent += Clock::now() - begin;
    }
    if (!at_once_) {
      PERI_TRY(backend_.synchronize());
      spent = Clock::now() - begin;
    }
    return std::chrono::duration<double, std::micro>(spent).count();
  }

  // Element `index` of this rank's output, in double precision.
  double expected(int64_t index) const {
    auto input = [&](int from, int64_t i) { return round_to(dtype_, random_element(from, i)); };
    int from = 0;  // the root, or whose part of the output it is
    if (spec_.info().output == Parts::per_member) {
      from = static_cast<int>(index / part_elements_);
      index %= part_elements_;
    }
    if (spec_.info().input == Parts::per_member) index += rank() * part_elements_;
    if (!spec_.info().reduces) return input(from, index);
    const bool reduces_here = spec_.info().sources != Sources::members_to_root || rank() == spec_.root;
    if (!reduces_here) return input(rank(), index);
    double sum = 0;
    for (int r = 0; r < ranks(); ++r) sum += input(r, index);
    return sum;
  }

  kernels::Backend& backend_;
  CollectiveSpec spec_;
  DType dtype_;
  const Measured& format_;
  bool at_once_;   // each call is timed alone
  bool in_place_;  // the output is the input
  int64_t chain_;  // calls in the recording
  int64_t replays_ = 0;
  int64_t input_elements_ = 0, output_elements_ = 0, part_elements_ = 0;
  std::shared_ptr<kernels::Storage> input_, output_, host_input_, host_output_, pristine_;
  kernels::Operand in_, out_;
  std::unique_ptr<kernels::Recording> recording_;
};

}  // namespace

Result<BenchPoint> bench_collective(kernels::Backend& backend, const AlgorithmInfo& algorithm, DType dtype,
                                    int64_t bytes) {
  if (!collective_info(algorithm.op).has_choice() || !measured(dtype))
    return fail(Code::Unsupported, fmt::format("no benchmark of {} {} by {}", to_string(algorithm.op),
                                               to_string(dtype), algorithm.name));
  CollectiveSpec spec{
      .op = algorithm.op, .algorithm = &algorithm, .group = world_group(backend.job().world_size)};
  Measurement measurement(backend, std::move(spec), dtype, bytes);
  PERI_TRY(measurement.prepare());
  const double microseconds = median(PERI_TRY(measurement.run()));
  if (Status right = measurement.check(); !right) {
    right.error().message = fmt::format("{} by {} of {} bytes: {}", to_string(algorithm.op), algorithm.name,
                                        bytes, right.error().message);
    return std::unexpected(right.error());
  }
  return BenchPoint{bytes, microseconds, measurement.bus_bandwidth(microseconds)};
}

}  // namespace peri::commands
