// The CUDA backend behind the contract of kernels/backend.hpp. Every call is first prepared, then enqueued in
// the rank's stream or kept by a recording, which becomes one graph once all its calls are prepared. So
// nothing is compiled, allocated or agreed upon while a stream captures.
//
// Calls return before the device has done them. What goes wrong on the device is told by `synchronize`, by a
// copy to the host, by an exchange, or by the first call after it was noticed (monitor.hpp).
#include <fmt/format.h>

#include <cstring>
#include <thread>

#include "core/env.hpp"
#include "core/thread.hpp"
#include "kernels/cuda/collectives/collective.hpp"
#include "kernels/cuda/compute/kernel.hpp"
#include "kernels/cuda/describe.hpp"
#include "kernels/cuda/mark.hpp"
#include "kernels/cuda/matmul/matmul.hpp"
#include "kernels/cuda/memory/memory.hpp"
#include "kernels/cuda/symmetric/symmetric_memory.hpp"
#include "kernels/plugin/plugin_entry.hpp"
#include "kernels/prepare_steps.hpp"

namespace peri::kernels::cuda {
namespace {

// From an operand's first element to its last; nothing if it runs backwards.
std::span<const std::byte> memory_of(const Operand& operand) {
  int64_t last = 0;
  for (int i = 0; i < operand.type.view.shape.rank(); ++i) {
    if (operand.type.view.strides[i] < 0 || operand.type.view.shape[i] == 0) return {};
    last += (operand.type.view.shape[i] - 1) * operand.type.view.strides[i];
  }
  return {operand.data, static_cast<size_t>((last + 1) * size_of(operand.type.dtype))};
}

class KernelCall final : public StreamCall {
 public:
  KernelCall(std::shared_ptr<const Kernel> kernel, cudaStream_t stream, std::span<const Operand> inputs,
             std::span<const Operand> outputs)
      : kernel_(std::move(kernel)), stream_(stream) {
    for (const Operand& operand : inputs) inputs_.push_back(operand.data);
    for (const Operand& operand : outputs) outputs_.push_back(operand.data);
    if (const int early = kernel_->early_operand(); early >= 0)
      early_ = memory_of(inputs[static_cast<size_t>(early)]);
  }
  Status enqueue() override {
    return begins_early_ ? kernel_->launch_early(stream_, inputs_, outputs_)
                         : kernel_->launch(stream_, inputs_, outputs_);
  }
  std::span<const std::byte> early_operand() const override { return early_; }
  void begin_early() override { begins_early_ = true; }

 private:
  std::shared_ptr<const Kernel> kernel_;  // kernels are shared by all calls of the same types
  cudaStream_t stream_;
  std::vector<std::byte*> inputs_, outputs_;
  std::span<const std::byte> early_;
  bool begins_early_ = false;
};

// A copy of contiguous bytes, by the copy engine.
class MemoryCopy final : public StreamCall {
 public:
  MemoryCopy(std::byte* to, const std::byte* from, int64_t bytes, cudaStream_t stream)
      : to_(to), from_(from), bytes_(static_cast<size_t>(bytes)), stream_(stream) {}
  Status enqueue() override {
    if (bytes_ == 0 || to_ == from_) return {};
    return check(cudaMemcpyAsync(to_, from_, bytes_, cudaMemcpyDefault, stream_), "copy");
  }

 private:
  std::byte* to_;
  const std::byte* from_;
  size_t bytes_;
  cudaStream_t stream_;
};

class CudaRecording final : public Recording {
 public:
  CudaRecording(PreparedSteps<StreamCall> prepared, size_t steps, std::shared_ptr<Device> device,
                uint32_t generation)
      : calls_(std::move(prepared.calls)),
        marks_(std::move(prepared.marks)),
        steps_(static_cast<int>(steps)),
        device_(std::move(device)),
        generation_(generation) {
    for (const auto& call : calls_) {
      if (!operation_) operation_ = call->operation();
      if (!nccl_work_) nccl_work_ = call->nccl_work();
    }
  }
  // A graph that is being replayed must stay until the stream has passed it.
  ~CudaRecording() override {
    device_->retire([graph = graph_] {
      if (graph) cudaGraphExecDestroy(graph);
    });
  }
  int step_count() const override { return steps_; }
  std::span<const std::unique_ptr<Mark>> marks() const override { return marks_; }
  void move(std::span<std::byte* const>) override { PERI_CHECK(false, "a graph's addresses are fixed"); }
  uint32_t generation() const { return generation_; }
  // Its first collective, which stands for it when peers ask what this rank is doing.
  const job::Operation* operation() const { return operation_; }
  const std::shared_ptr<const NcclWork>& nccl_work() const { return nccl_work_; }

  Status instantiate() {
    for (size_t i = 1; i < calls_.size(); ++i)
      if (const auto early = calls_[i]->early_operand();
          !early.empty() && calls_[i - 1]->let_next_begin(early))
        calls_[i]->begin_early();
    cudaStream_t stream = device_->stream();
    // Relaxed: what other threads ask of CUDA meanwhile does not matter to this capture.
    PERI_TRY(check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed), "begin_capture"));
    Status enqueued;
    for (const auto& call : calls_)
      if (enqueued) enqueued = call->enqueue();
    cudaGraph_t graph = nullptr;
    Status ended = check(cudaStreamEndCapture(stream, &graph), "end_capture");
    Status made = !enqueued ? enqueued : ended;
    if (made) made = check(cudaGraphInstantiate(&graph_, graph, 0), "end_capture");
    if (graph) cudaGraphDestroy(graph);
    return made;
  }
  Status launch() const { return check(cudaGraphLaunch(graph_, device_->stream()), "replay"); }

 private:
  std::vector<std::unique_ptr<StreamCall>> calls_;  // they keep the kernels
  std::vector<std::unique_ptr<Mark>> marks_;
  int steps_;
  std::shared_ptr<Device> device_;
  uint32_t generation_;
  const job::Operation* operation_ = nullptr;
  std::shared_ptr<const NcclWork> nccl_work_;  // of its first call of NCCL, shared with what is issued
  cudaGraphExec_t graph_ = nullptr;
};

class CudaBackend final : public Backend {
 public:
  CudaBackend(std::unique_ptr<job::Control> control, std::shared_ptr<Device> device,
              std::unique_ptr<Monitor> monitor, Peers peers, std::jthread loading)
      : control_(std::move(control)),
        device_(std::move(device)),
        monitor_(std::move(monitor)),
        allocator_(make_allocator(device_)),
        clock_(device_),
        loading_(std::move(loading)),
        communicator_(*control_, *monitor_, device_, std::move(peers)) {}
  ~CudaBackend() override { leave(); }

  std::string name() const override { return "cuda"; }
  const JobOptions& job() const override { return control_->options(); }
  std::string device_name() const override { return fmt::format("GPU {}", device_->index()); }
  const Topology& topology() const override { return communicator_.peers().topology(); }

  Result<std::shared_ptr<Storage>> allocate(Bytes bytes, Place place) override {
    return allocator_->allocate(bytes, place);
  }

  Result<std::shared_ptr<Storage>> allocate_symmetric(Bytes bytes, const Group& group) override {
    PERI_TRY(check_usable());
    GroupContext* context = PERI_TRY(communicator_.context(group));
    job::Operation operation(
        fmt::format("allocate_symmetric of {} bytes over {}", bytes.count(), group.to_string()), {});
    PERI_TRY(communicator_.peers().check_memory(group, operation));
    control_->enter(operation);
    auto allocate = [&] {
      return cuda::allocate_symmetric(*context, communicator_.blocks(), bytes, operation);
    };
    auto made = allocate();
    if (made || made.error().code != Code::OutOfMemory) return made;
    allocator_->free_cached();  // all members are told of it alike, and try again
    return allocate();
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
    PERI_TRY(check_usable());
    return issue(PERI_TRY(prepare_launch(spec, inputs, outputs)));
  }

  Status collective(const CollectiveSpec& spec, std::span<const Operand> inputs,
                    std::span<const Operand> outputs) override {
    PERI_TRY(check_usable());
    return issue(PERI_TRY(prepare_collective(communicator_, spec, inputs, outputs, true)));
  }

  Status copy(const Operand& from, const Operand& to) override {
    PERI_TRY(check_usable());
    PERI_TRY(issue(PERI_TRY(prepare_copy(from, to))));
    const bool to_host = place_of(to.data) == Place::host && place_of(from.data) == Place::device;
    return to_host ? synchronize() : Status{};
  }

  Result<std::unique_ptr<Recording>> prepare(std::span<const ProgramStep> steps, Marks marks) override {
    PERI_TRY(check_usable());
    using Prepared = Result<std::unique_ptr<StreamCall>>;
    auto prepared = PERI_TRY(prepare_steps<StreamCall>(
        steps, marks,
        Overloaded{
            [&](const KernelStep& s) -> Prepared { return prepare_launch(s.spec, s.inputs, s.outputs); },
            [&](const CollectiveStep& s) -> Prepared {
              return prepare_collective(communicator_, s.spec, s.inputs, s.outputs, false);
            },
            [&](const CopyStep& s) -> Prepared {
              PERI_TRY(check_recordable_copy(place_of(s.from.data), place_of(s.to.data)));
              return prepare_copy(s.from, s.to);
            }},
        [&] { return prepare_mark(true); }));
    auto recording =
        std::make_unique<CudaRecording>(std::move(prepared), steps.size(), device_, generation());
    PERI_TRY(recording->instantiate());
    return recording;
  }

  Status replay(const Recording& recording) override {
    PERI_TRY(check_usable());
    auto* ours = dynamic_cast<const CudaRecording*>(&recording);
    if (!ours) return fail(Code::InvalidArgument, "the recording was made by another backend");
    if (ours->generation() != generation()) return fail(Code::InvalidArgument, kOutdatedRecording);
    if (ours->operation()) {
      PERI_TRY(monitor_->can_communicate(*ours->operation()));
      control_->enter(*ours->operation());
    }
    return communicator_.issue(ours->nccl_work(), [&] { return ours->launch(); });
  }

  bool follows_blocks() const override { return false; }

  Status synchronize() override { return monitor_->synchronize(); }

  Result<std::unique_ptr<Mark>> mark() override {
    auto [mark, call] = PERI_TRY(prepare_mark(false));
    PERI_TRY(issue(std::move(call)));
    return std::move(mark);
  }

  std::vector<std::optional<int64_t>> times(std::span<const Mark* const> marks) override {
    std::vector<std::optional<int64_t>> result;
    for (const Mark* mark : marks) {
      auto* ours = dynamic_cast<const CudaMark*>(mark);
      result.push_back(ours ? clock_.time(ours->event()) : std::nullopt);
    }
    clock_.keep_set();
    return result;
  }

  Result<std::vector<std::string>> exchange(const Group& group, const std::string& text,
                                            const std::string& what) override {
    PERI_TRY(check_usable());
    PERI_TRY(check_group(group, control_->rank(), control_->options().world_size));
    PERI_TRY(synchronize());
    job::Operation operation(what, {});
    control_->enter(operation);
    return control_->exchange(group, text, operation);
  }

  std::atomic<bool>& interrupt_flag() override { return control_->interrupt_flag(); }
  void abort(const Error& cause) override { control_->abort(cause); }
  uint32_t generation() const override { return control_->generation(); }
  Status recover() override {
    if (control_->has_left()) return fail(Code::InvalidArgument, "this rank has left the job");
    return communicator_.recover();
  }

  void leave() override {
    if (control_->has_left()) return;
    if (loading_.joinable()) loading_.join();
    static_cast<void>(device_->finish());  // what peers still wait for is on its way
    communicator_.close();
    monitor_->stop();
    control_->leave();
  }

 private:
  Status check_usable() {
    if (control_->has_left()) return fail(Code::InvalidArgument, "this rank has left the job");
    return monitor_->has_failure() ? monitor_->synchronize() : Status{};
  }

  Result<std::unique_ptr<StreamCall>> prepare_launch(const KernelSpec& spec, std::span<const Operand> inputs,
                                                     std::span<const Operand> outputs) {
    std::vector<OperandType> input_types, output_types;
    for (const Operand& operand : inputs) input_types.push_back(operand.type);
    for (const Operand& operand : outputs) output_types.push_back(operand.type);
    auto kernel = PERI_TRY(compile_kernel(spec, input_types, output_types));
    return std::make_unique<KernelCall>(std::move(kernel), device_->stream(), inputs, outputs);
  }

  Result<std::unique_ptr<StreamCall>> prepare_copy(const Operand& from, const Operand& to) {
    const bool whole = from.type.dtype == to.type.dtype && from.type.view.is_contiguous() &&
                       to.type.view.is_contiguous() &&
                       numel(from.type.view.shape) == numel(to.type.view.shape);
    // The GPU reads and writes pinned memory of the host, too.
    if (!whole) return prepare_launch(KernelSpec{.op = Op::contiguous}, {&from, 1}, {&to, 1});
    const int64_t bytes = numel(from.type.view.shape) * size_of(from.type.dtype);
    return std::make_unique<MemoryCopy>(to.data, from.data, bytes, device_->stream());
  }

  // `captured`: a graph will pass it.
  Result<PreparedMark<StreamCall>> prepare_mark(bool captured) {
    if (!clock_.is_set()) {
      PERI_TRY(monitor_->synchronize());
      PERI_TRY(clock_.set());
    }
    auto event = PERI_TRY(Event::create(device_, captured));
    auto call = std::make_unique<RecordEvent>(event, device_->stream());
    return PreparedMark<StreamCall>{std::make_unique<CudaMark>(std::move(event)), std::move(call)};
  }

  Status issue(std::unique_ptr<StreamCall> call) {
    return communicator_.issue(call->nccl_work(), [&] { return call->enqueue(); });
  }

  Place place_of(const std::byte* address) const {
    return symmetric_group(address) ? Place::device : allocator_->place_of(address);
  }

  std::unique_ptr<job::Control> control_;
  std::shared_ptr<Device> device_;  // shared with storages and recordings, which may outlive the backend
  std::unique_ptr<Monitor> monitor_;
  std::shared_ptr<CachingAllocator> allocator_;
  EventClock clock_;
  std::jthread loading_;  // what the first product would wait for
  Communicator communicator_;
};

Result<std::unique_ptr<Backend>> create(const JobOptions& options) {
  keep_nccl_off_multicast();
  auto device = PERI_TRY(Device::open(options.local_rank.value_or(options.rank), options.may_spin));
  std::jthread loading = PERI_TRY(start_thread([gpu = device->index()] { load_matmul_library(gpu); }));
  auto control = PERI_TRY(job::Control::join(options));
  auto monitor = PERI_TRY(Monitor::start(*control, device));
  Peers peers = PERI_TRY(Peers::meet(*control, *device));
  return std::make_unique<CudaBackend>(std::move(control), std::move(device), std::move(monitor),
                                       std::move(peers), std::move(loading));
}

}  // namespace
}  // namespace peri::kernels::cuda

extern "C" {

void peri_cuda_create(const peri::kernels::JobOptions* options,
                      peri::Result<std::unique_ptr<peri::kernels::Backend>>* backend) {
  *backend = peri::kernels::cuda::create(*options);
}

void peri_cuda_count(peri::Result<int>* count) {
  *count = peri::kernels::cuda::device_count();
}

void peri_cuda_describe(peri::Result<peri::kernels::CudaReport>* report) {
  *report = peri::kernels::cuda::describe();
}

}  // extern "C"
