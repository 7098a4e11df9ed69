// A mark's time is known once the stream has passed it, so what was issued waits here for its times. They are
// read whenever the stream has been waited for anyway, and before a recording is replayed again, whose marks
// are passed anew: a traced program waits for each replay before the next one of the same recording.
#include "kernels/timeline/timed_backend.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <deque>

#include "core/overloaded.hpp"
#include "kernels/forwarding_backend.hpp"

namespace peri::kernels {
namespace {

constexpr size_t kLookAfter = 64;    // issued and not yet read
constexpr size_t kWaitAfter = 1024;  // then the stream is waited for: marks are the device's resources

std::string describe(std::span<const Operand> operands) {
  std::vector<std::string> texts;
  for (const Operand& operand : operands)
    texts.push_back(fmt::format("{}{}", to_string(operand.type.dtype), operand.type.view.shape.to_string()));
  return fmt::format("{}", fmt::join(texts, ", "));
}

int64_t total_bytes(std::span<const Operand> operands) {
  Bytes bytes;
  for (const Operand& operand : operands)
    bytes += bytes_of(Elements(numel(operand.type.view.shape)), operand.type.dtype);
  return bytes.count();
}

Label label_of(const KernelSpec& spec, std::span<const Operand> inputs, std::span<const Operand> outputs) {
  Label label{.name = spec.name(), .category = "kernel"};
  label.add("inputs", describe(inputs));
  label.add("outputs", describe(outputs));
  label.add("bytes", total_bytes(inputs) + total_bytes(outputs));
  if (spec.is_fused()) label.add("program", spec.fused.to_string());
  return label;
}

// Bytes of a collective: of the larger of what a member gives and gets, as nccl-tests count; its epilogue's
// are not communicated.
Label label_of(const CollectiveSpec& spec, std::span<const Operand> inputs,
               std::span<const Operand> outputs) {
  Label label{.name = std::string(to_string(spec.op)), .category = "collective"};
  auto first_bytes = [](std::span<const Operand> operands) {
    return total_bytes(operands.first(std::min<size_t>(operands.size(), 1)));
  };
  const int64_t bytes = std::max(first_bytes(inputs), first_bytes(outputs));
  label.add("input", describe(inputs));
  label.add("output", describe(outputs));
  label.add("bytes", bytes);
  label.add("algorithm", spec.algorithm ? std::string(spec.algorithm->name) : "");
  label.add("group", spec.group.to_string());
  if (!spec.end_barrier) label.add("end barrier", "elided");
  if (!spec.epilogue.empty()) label.add("epilogue", spec.epilogue.to_string());
  if (spec.origin.known()) label.add("at", spec.origin.to_string());
  label.bus_bytes = static_cast<double>(bytes) * spec.info().bus_factor(spec.group.size());
  return label;
}

Label copy_label(const Operand& from, const Operand& to) {
  Label label{.name = "copy", .category = "copy"};
  label.add("from", describe({&from, 1}));
  label.add("to", describe({&to, 1}));
  label.add("bytes", total_bytes({&from, 1}));
  return label;
}

Label label_of(const ProgramStep& step) {
  return std::visit(Overloaded{[](const KernelStep& s) { return label_of(s.spec, s.inputs, s.outputs); },
                               [](const CollectiveStep& s) { return label_of(s.spec, s.inputs, s.outputs); },
                               [](const CopyStep& s) { return copy_label(s.from, s.to); }},
                    step);
}

// A recording with marks, and what is between them.
struct MarkedCalls {
  std::unique_ptr<Recording> recording;
  std::vector<Label> labels;
  bool unread = false;  // since the last replay

  std::span<const std::unique_ptr<Mark>> marks() const { return recording->marks(); }
};

class TimedRecording final : public Recording {
 public:
  explicit TimedRecording(std::shared_ptr<MarkedCalls> calls) : calls_(std::move(calls)) {}
  int step_count() const override { return calls_->recording->step_count(); }
  std::span<const std::unique_ptr<Mark>> marks() const override { return calls_->marks(); }
  void move(std::span<std::byte* const> blocks) override { calls_->recording->move(blocks); }
  const Recording& recording() const { return *calls_->recording; }
  const std::shared_ptr<MarkedCalls>& calls() const { return calls_; }

 private:
  std::shared_ptr<MarkedCalls> calls_;  // shared with a replay whose times are not read yet
};

// What has been issued and has not told its times.
struct Issued {
  Label label;
  std::unique_ptr<Mark> start, end;
  std::shared_ptr<MarkedCalls> calls;  // of a replay
};

using Times = std::span<const std::optional<int64_t>>;

class TimedBackend final : public ForwardingBackend {
 public:
  TimedBackend(std::unique_ptr<Backend> backend, TimelineSink& sink, int64_t max_events)
      : ForwardingBackend(*backend),
        backend_(std::move(backend)),
        timeline_(sink, job(), device_name(), max_events) {}
  ~TimedBackend() override { leave(); }

  Result<std::shared_ptr<Storage>> allocate_symmetric(Bytes bytes, const Group& group) override {
    Label label{.name = "allocate_symmetric", .category = "memory"};
    label.add("bytes", bytes.count());
    label.add("group", group.to_string());
    return in_script(std::move(label), [&] { return to_.allocate_symmetric(bytes, group); });
  }

  Status launch(const KernelSpec& spec, std::span<const Operand> inputs,
                std::span<const Operand> outputs) override {
    if (timeline_.is_full()) return to_.launch(spec, inputs, outputs);
    return issue(label_of(spec, inputs, outputs), [&] { return to_.launch(spec, inputs, outputs); });
  }

  Status collective(const CollectiveSpec& spec, std::span<const Operand> inputs,
                    std::span<const Operand> outputs) override {
    if (timeline_.is_full()) return to_.collective(spec, inputs, outputs);
    return issue(label_of(spec, inputs, outputs), [&] { return to_.collective(spec, inputs, outputs); });
  }

  Status copy(const Operand& from, const Operand& to) override {
    if (timeline_.is_full()) return to_.copy(from, to);
    return issue(copy_label(from, to), [&] { return to_.copy(from, to); });
  }

  Result<std::unique_ptr<Recording>> prepare(std::span<const ProgramStep> steps, Marks) override {
    const int64_t start = host_clock();
    auto calls = std::make_shared<MarkedCalls>();
    calls->recording = PERI_TRY(to_.prepare(steps, Marks::between_steps));
    for (const ProgramStep& step : steps) calls->labels.push_back(label_of(step));
    Label label{.name = "record", .category = "graph"};
    label.add("calls", static_cast<int64_t>(steps.size()));
    timeline_.add(Lane::script, label, start, host_clock());
    return std::make_unique<TimedRecording>(std::move(calls));
  }

  Status replay(const Recording& recording) override {
    auto* ours = dynamic_cast<const TimedRecording*>(&recording);
    if (!ours) return fail(Code::InvalidArgument, "the recording was made by another backend");
    if (timeline_.is_full()) return to_.replay(ours->recording());
    if (ours->calls()->unread) PERI_TRY(wait("wait for times"));
    Label label{.name = "replay", .category = "graph"};
    label.add("calls", int64_t{ours->step_count()});
    PERI_TRY(run(std::move(label), [&] { return to_.replay(ours->recording()); }));
    issued_.back().calls = ours->calls();
    ours->calls()->unread = true;
    return collect_some();
  }

  Status synchronize() override { return wait("synchronize"); }

  Result<std::vector<std::string>> exchange(const Group& group, const std::string& text,
                                            const std::string& what) override {
    Label label{.name = "exchange", .category = "exchange"};
    label.add("what", what);
    label.add("group", group.to_string());
    return in_script(std::move(label), [&] { return to_.exchange(group, text, what); });
  }

  Status recover() override {
    return in_script({.name = "recover", .category = "exchange"}, [&] { return to_.recover(); });
  }

  void abort(const Error& cause) override {
    to_.abort(cause);
    collect(Unfinished::keep);
    Label label{.name = "error", .category = "error"};
    label.add("message", cause.to_string());
    timeline_.add_instant(label);
    timeline_.write();
  }

  void leave() override {
    to_.leave();
    collect(Unfinished::take);
    timeline_.finish();
  }

 private:
  enum class Unfinished { keep, take };

  // What the script's thread does, failed or not.
  template <class F>
  auto in_script(Label label, F what) -> decltype(what()) {
    const int64_t start = host_clock();
    auto result = what();
    if (!result) label.add("error", result.error().to_string());
    timeline_.add(Lane::script, label, start, host_clock());
    return result;
  }

  // One thing between two marks, from the script to the stream.
  template <class F>
  Status run(Label label, F what) {
    Issued issued{.label = label, .start = nullptr, .end = nullptr, .calls = nullptr};
    issued.start = PERI_TRY(to_.mark());
    PERI_TRY(in_script(std::move(label), what));
    issued.end = PERI_TRY(to_.mark());
    issued_.push_back(std::move(issued));
    return {};
  }

  template <class F>
  Status issue(Label label, F call) {
    PERI_TRY(run(std::move(label), call));
    return collect_some();
  }

  Status wait(std::string why) {
    Status done = in_script({.name = std::move(why), .category = "wait"}, [&] { return to_.synchronize(); });
    collect(done ? Unfinished::take : Unfinished::keep);
    return done;
  }

  Status collect_some() {
    if (issued_.size() % kLookAfter == 0) collect(Unfinished::keep);
    return issued_.size() < kWaitAfter ? Status{} : wait("wait for times");
  }

  // Takes from what was issued what the stream has done; at the end also the beginning of what it has not.
  void collect(Unfinished unfinished) {
    std::vector<const Mark*> marks;
    for (const Issued& issued : issued_) {
      marks.push_back(issued.start.get());
      if (issued.calls)
        for (const auto& mark : issued.calls->marks()) marks.push_back(mark.get());
      marks.push_back(issued.end.get());
    }
    const auto all = to_.times(marks);
    Times times = all;
    while (!issued_.empty()) {
      const Issued& issued = issued_.front();
      const size_t count = 2 + (issued.calls ? issued.calls->marks().size() : 0);
      if (!times[count - 1] && unfinished == Unfinished::keep) break;
      add(issued, times.first(count));
      if (issued.calls) issued.calls->unread = false;
      times = times.subspan(count);
      issued_.pop_front();
    }
    timeline_.write();
  }

  // `times` begin and end with those of the whole.
  void add(const Issued& issued, Times times) {
    // A mark that a replay has not reached may have the time of an earlier one; and after the clocks were
    // compared anew, what follows may seem to begin before the end of what it followed.
    std::vector<int64_t> passed;
    for (const auto& time : times) {
      if (!time || (!passed.empty() && *time < *times[0])) break;
      passed.push_back(std::max({*time, stream_is_at_, passed.empty() ? *time : passed.back()}));
    }
    if (passed.size() < 2) return;
    timeline_.add(Lane::stream, issued.label, passed.front(), passed.back());
    if (issued.calls)
      for (size_t i = 0; i < issued.calls->labels.size() && i + 2 < passed.size(); ++i)
        timeline_.add(Lane::stream, issued.calls->labels[i], passed[i + 1], passed[i + 2]);
    stream_is_at_ = passed.back();
  }

  std::unique_ptr<Backend> backend_;
  Timeline timeline_;
  std::deque<Issued> issued_;
  int64_t stream_is_at_ = 0;  // the end of the last event of its lane
};

}  // namespace

std::unique_ptr<Backend> with_timeline(std::unique_ptr<Backend> backend, TimelineSink& sink,
                                       int64_t max_events) {
  return std::make_unique<TimedBackend>(std::move(backend), sink, max_events);
}

}  // namespace peri::kernels
