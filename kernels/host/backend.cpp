// The host backend: memory, kernels and collectives behind the contract of kernels/backend.hpp. Every call is
// first prepared, then run at once or, while capturing, kept; so eager calls and replays go the same way.
#include <fmt/format.h>

#include <cstring>

#include "kernels/backend.hpp"
#include "kernels/host/collectives/collective.hpp"
#include "kernels/host/compute/kernel.hpp"
#include "kernels/host/memory.hpp"

namespace peri::kernels::host {
namespace {

class KernelCall final : public HostCall {
 public:
  KernelCall(std::shared_ptr<const Kernel> kernel, std::span<const Operand> inputs,
             std::span<const Operand> outputs)
      : kernel_(std::move(kernel)) {
    for (const Operand& operand : inputs) inputs_.push_back(operand.data);
    for (const Operand& operand : outputs) outputs_.push_back(operand.data);
  }
  Status run() override {
    kernel_->run(inputs_, outputs_);
    return {};
  }

 private:
  std::shared_ptr<const Kernel> kernel_;  // kernels are shared by all calls of the same types
  std::vector<std::byte*> inputs_, outputs_;
};

using Time = std::optional<int64_t>;  // on host_clock

class HostMark final : public Mark {
 public:
  explicit HostMark(std::shared_ptr<const Time> passed) : passed_(std::move(passed)) {}
  Time passed() const { return *passed_; }

 private:
  std::shared_ptr<const Time> passed_;  // shared with the call, either of which may be gone first
};

class MarkCall final : public HostCall {
 public:
  explicit MarkCall(std::shared_ptr<Time> passed) : passed_(std::move(passed)) {}
  Status run() override {
    *passed_ = host_clock();
    return {};
  }

 private:
  std::shared_ptr<Time> passed_;
};

class HostRecording final : public Recording {
 public:
  HostRecording(std::vector<std::unique_ptr<HostCall>> calls, uint32_t generation)
      : calls_(std::move(calls)), generation_(generation) {}
  int call_count() const override { return static_cast<int>(calls_.size()); }
  const std::vector<std::unique_ptr<HostCall>>& calls() const { return calls_; }
  uint32_t generation() const { return generation_; }

 private:
  std::vector<std::unique_ptr<HostCall>> calls_;
  uint32_t generation_;
};

Result<std::unique_ptr<HostCall>> prepare_launch(const KernelSpec& spec, std::span<const Operand> inputs,
                                                 std::span<const Operand> outputs) {
  std::vector<OperandType> input_types, output_types;
  for (const Operand& operand : inputs) input_types.push_back(operand.type);
  for (const Operand& operand : outputs) output_types.push_back(operand.type);
  return std::make_unique<KernelCall>(PERI_TRY(compile_kernel(spec, input_types, output_types)), inputs,
                                      outputs);
}

class HostBackend final : public Backend {
 public:
  explicit HostBackend(std::unique_ptr<job::Control> joined)
      : communicator_(std::move(joined)), allocator_(std::make_shared<host::Allocator>(control().ledger())) {}
  ~HostBackend() override { leave(); }

  std::string name() const override { return "host"; }
  const JobOptions& job() const override { return control().options(); }
  std::string device_name() const override { return "host"; }
  const Topology& topology() const override { return topology_; }

  Result<std::shared_ptr<Storage>> allocate(int64_t bytes, Place place) override {
    return allocator_->allocate(bytes, place);
  }

  Result<std::shared_ptr<Storage>> allocate_symmetric(int64_t bytes, const Group& group) override {
    PERI_TRY(check_present());
    GroupContext* context = PERI_TRY(communicator_.context(group));
    job::Operation operation(fmt::format("allocate_symmetric of {} bytes over {}", bytes, group.to_string()),
                             {});
    control().enter(operation);
    return host::allocate_symmetric(*context, communicator_.blocks(), bytes, operation);
  }

  const Group* symmetric_group(const std::byte* address) const override {
    const SymmetricMemory* memory = communicator_.blocks()->find(address);
    return memory ? &memory->group() : nullptr;
  }

  SymmetricMemory* symmetric_memory(const Storage& storage) const override {
    return communicator_.blocks()->find(storage.data());
  }

  Status launch(const KernelSpec& spec, std::span<const Operand> inputs,
                std::span<const Operand> outputs) override {
    return issue(PERI_TRY(prepare_launch(spec, inputs, outputs)));
  }

  Status collective(const CollectiveSpec& spec, std::span<const Operand> inputs,
                    std::span<const Operand> outputs) override {
    PERI_TRY(check_present());
    return issue(PERI_TRY(prepare_collective(communicator_, spec, inputs, outputs)));
  }

  Status copy(const Operand& from, const Operand& to) override {
    if (capturing_ && place_of(from.data) != place_of(to.data))
      return fail(Code::Unsupported, "a copy between device and host memory cannot be captured");
    return launch(KernelSpec{.op = Op::contiguous}, {&from, 1}, {&to, 1});
  }

  Status begin_capture() override {
    if (capturing_) return fail(Code::InvalidArgument, "a capture has already begun");
    capturing_ = true;
    return {};
  }

  Result<std::unique_ptr<Recording>> end_capture() override {
    if (!capturing_) return fail(Code::InvalidArgument, "no capture has begun");
    capturing_ = false;
    return std::make_unique<HostRecording>(std::exchange(captured_, {}), generation());
  }

  void abandon_capture() override {
    capturing_ = false;
    captured_.clear();
  }

  Status replay(const Recording& recording) override {
    PERI_TRY(check_present());
    auto* calls = dynamic_cast<const HostRecording*>(&recording);
    if (!calls) return fail(Code::InvalidArgument, "the recording was made by another backend");
    if (calls->generation() != generation()) return fail(Code::InvalidArgument, kOutdatedRecording);
    if (capturing_)
      return fail(Code::InvalidArgument, "a recording cannot be replayed while another is captured");
    for (const auto& call : calls->calls()) PERI_TRY(call->run());
    return {};
  }

  Status synchronize() override { return {}; }  // every call has completed when it returns

  Result<std::unique_ptr<Mark>> mark() override {
    auto passed = std::make_shared<Time>();
    PERI_TRY(issue(std::make_unique<MarkCall>(passed)));
    return std::make_unique<HostMark>(std::move(passed));
  }

  std::vector<Time> times(std::span<const Mark* const> marks) override {
    std::vector<Time> result;
    for (const Mark* mark : marks) {
      auto* ours = dynamic_cast<const HostMark*>(mark);
      result.push_back(ours ? ours->passed() : std::nullopt);
    }
    return result;
  }

  Result<std::vector<std::string>> exchange(const Group& group, const std::string& text,
                                            const std::string& what) override {
    PERI_TRY(check_present());
    if (capturing_) return fail(Code::InvalidArgument, "an exchange cannot be captured");
    PERI_TRY(communicator_.context(group));
    job::Operation operation(what, {});
    control().enter(operation);
    return control().exchange(group, text, operation);
  }

  std::atomic<bool>& interrupt_flag() override { return control().interrupt_flag(); }
  void abort(const Error& cause) override { control().abort(cause); }
  uint32_t generation() const override { return control().generation(); }
  Status recover() override {
    PERI_TRY(check_present());
    abandon_capture();
    return communicator_.recover();
  }
  void leave() override { control().leave(); }

 private:
  job::Control& control() const { return communicator_.control(); }

  Status check_present() const {
    if (control().has_left()) return fail(Code::InvalidArgument, "this rank has left the job");
    return {};
  }

  Status issue(std::unique_ptr<HostCall> call) {
    if (!capturing_) return call->run();
    captured_.push_back(std::move(call));
    return {};
  }

  Place place_of(const std::byte* address) const {
    return symmetric_group(address) ? Place::device : allocator_->place_of(address);
  }

  Communicator communicator_;
  std::shared_ptr<host::Allocator> allocator_;  // shared with the storages, which may outlive the backend
  Topology topology_;                           // one host
  bool capturing_ = false;
  std::vector<std::unique_ptr<HostCall>> captured_;
};

}  // namespace
}  // namespace peri::kernels::host

namespace peri::kernels {

Result<std::unique_ptr<Backend>> create_host_backend(const JobOptions& options) {
  host::set_thread_count(options.threads);
  return std::make_unique<host::HostBackend>(PERI_TRY(job::Control::join(options)));
}

}  // namespace peri::kernels
