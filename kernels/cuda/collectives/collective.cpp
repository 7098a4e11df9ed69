#include "kernels/cuda/collectives/collective.hpp"

#include <fmt/format.h>

#include "core/env.hpp"
#include "kernels/cuda/collectives/launch.hpp"

namespace peri::kernels::cuda {
namespace {

Element element_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return Element::f32;
    case DType::f16:
      return Element::f16;
    case DType::bf16:
      return Element::bf16;
    case DType::i32:
      return Element::i32;
    case DType::i64:
      return Element::i64;
    case DType::u8:
    case DType::boolean:  // only ever moved
      return Element::u8;
  }
  return Element::u8;
}

Reduction reduction_of(const CheckedCollective& c) {
  if (!c.info().reduces) return Reduction::none;
  switch (c.spec.reduce) {
    case Reduce::sum:
      return Reduction::sum;
    case Reduce::avg:
      return Reduction::avg;
    case Reduce::min:
      return Reduction::min;
    case Reduce::max:
      return Reduction::max;
    case Reduce::prod:
      return Reduction::prod;
  }
  return Reduction::none;
}

uint32_t folded(uint64_t signature) {
  return static_cast<uint32_t>(signature ^ (signature >> 32));
}

PartWindow window_of(const Window& window) {
  if (window.row_stride == 0) return {.row_bytes = kUnbroken, .row_stride = 0, .begin = window.begin};
  return {.row_bytes = window.row_bytes, .row_stride = window.row_stride, .begin = window.begin};
}

CollectiveArguments arguments_of(const CheckedCollective& c, const GroupContext& context) {
  CollectiveArguments a{};
  a.group = context.view();
  a.watch = context.monitor().watch();
  a.operation = context.monitor().number(c.operation);
  a.signature = folded(c.signature);
  a.element = element_of(c.dtype);
  a.reduction = reduction_of(c);
  a.input = c.input;
  a.output = c.output;
  for (int m = 0; m < c.members(); ++m) {
    a.symmetric[m] = c.memory ? c.symmetric(m) : nullptr;
    a.from[m] = window_of(c.input_part(m));
    a.to[m] = window_of(c.output_part(m));
  }
  a.length = c.part_bytes().count();
  a.root = c.info().sources == Sources::root ? c.root : -1;
  a.receiver = c.info().sources == Sources::members_to_root ? c.root : -1;
  a.personal = c.is_personal();
  a.end_barrier = c.spec.end_barrier;
  return a;
}

class CollectiveBase : public StreamCall {
 public:
  CollectiveBase(CheckedCollective call, const Communicator& communicator)
      : c_(std::move(call)), stream_(communicator.device()->stream()) {}
  const job::Operation* operation() const override { return &c_.operation; }
  // Workspaces apart, which nothing else reads, members write their outputs, and the same part of each
  // other's.
  bool may_write(std::span<const std::byte> memory) const override {
    return c_.output && memory.data() < c_.output + c_.output_bytes().count() &&
           c_.output < memory.data() + memory.size();
  }

 protected:
  CheckedCollective c_;
  cudaStream_t stream_;
};

// With one member every collective is a copy.
class CopyCall final : public CollectiveBase {
 public:
  using CollectiveBase::CollectiveBase;
  Status enqueue() override {
    const Bytes bytes = std::min(c_.input_bytes(), c_.output_bytes());
    if (c_.in_place() || bytes == Bytes()) return {};
    return check(cudaMemcpyAsync(c_.output, c_.input, bytes.count(), cudaMemcpyDefault, stream_),
                 c_.operation.text());
  }
};

// `ll`: one kernel per chunk; of a barrier, which moves nothing, one.
class StagedCall final : public CollectiveBase {
 public:
  StagedCall(CheckedCollective call, const Communicator& communicator, const GroupContext& context)
      : CollectiveBase(std::move(call), communicator),
        arguments_(arguments_of(c_, context)),
        pushes_values_(c_.info().reduces && c_.info().is_elementwise() && arguments_.receiver < 0 &&
                       is_float(c_.dtype) && arguments_.length > 0) {}
  Status enqueue() override {
    const int64_t total = arguments_.length;
    const int64_t most = pushes_values_ ? push_chunk_bytes(c_.members()) : kChunkBytes;
    int64_t at = 0;
    do {  // an empty collective still meets
      CollectiveArguments chunk = arguments_;
      chunk.at = at;
      chunk.length = std::min(most, total - at);
      chunk.begins_early = begins_early_ && at == 0;
      chunk.lets_next_begin = lets_next_begin_ && at + chunk.length == total;
      PERI_TRY(check(pushes_values_ ? launch_push(chunk, stream_) : launch_ll(chunk, stream_),
                     c_.operation.text()));
      at += chunk.length;
    } while (at < total);
    return {};
  }
  bool can_begin_early() const override { return pushes_values_; }
  void begin_early() override { begins_early_ = true; }
  bool let_next_begin() override { return lets_next_begin_ = pushes_values_; }

 private:
  CollectiveArguments arguments_;
  bool pushes_values_;  // every value is its own flag
  bool begins_early_ = false, lets_next_begin_ = false;
};

class DirectCall final : public CollectiveBase {
 public:
  DirectCall(CheckedCollective call, const Communicator& communicator, const GroupContext& context)
      : CollectiveBase(std::move(call), communicator), arguments_(arguments_of(c_, context)) {
    // Members that store into each other's inputs are in another call than those that fetch.
    if (c_.algorithm().clobbers_input) arguments_.signature += c_.in_place() ? 0x10 : 0;
  }
  Status enqueue() override {
    const cudaError_t error =
        c_.algorithm().clobbers_input ? launch_split(arguments_, stream_) : launch_pull(arguments_, stream_);
    return check(error, c_.operation.text());
  }

 private:
  CollectiveArguments arguments_;
};

// By NVLink multicast, whose address the operand has.
class MultimemCall final : public CollectiveBase {
 public:
  MultimemCall(CheckedCollective call, const Communicator& communicator, const GroupContext& context,
               std::byte* multicast)
      : CollectiveBase(std::move(call), communicator), arguments_(arguments_of(c_, context)) {
    arguments_.multicast = multicast;
  }
  Status enqueue() override {
    const auto launch = !c_.info().reduces              ? launch_multimem_gather
                        : c_.algorithm().clobbers_input ? launch_multimem_split
                                                        : launch_multimem_one_shot;
    return check(launch(arguments_, stream_), c_.operation.text());
  }

 private:
  CollectiveArguments arguments_;
};

class MessageCall final : public CollectiveBase {
 public:
  MessageCall(CheckedCollective call, const Communicator& communicator, const Channel& channel)
      : CollectiveBase(std::move(call), communicator),
        view_(channel.view()),
        watch_(communicator.monitor().watch()),
        number_(communicator.monitor().number(c_.operation)),
        signature_(folded(c_.message_signature())) {}
  Status enqueue() override {
    if (c_.info().inputs == 0)
      return check(
          launch_receive(view_, watch_, number_, signature_, c_.output, c_.output_bytes().count(), stream_),
          c_.operation.text());
    return check(launch_send(view_, watch_, number_, signature_, c_.input, c_.input_bytes().count(), stream_),
                 c_.operation.text());
  }

 private:
  ChannelView view_;
  Watch watch_;
  uint32_t number_, signature_;
};

// `why` is empty where nobody has asked for it.
std::unexpected<Error> refuse_multicast(const CheckedCollective& c, const std::string& why) {
  return c.operation.fail(Code::Unsupported,
                          "NVLink multicast is not used by this backend" + (why.empty() ? "" : ": " + why),
                          {"one_shot and two_shot are offered instead"});
}

// Before anything is agreed upon: all members of the call find the same.
Status check_multimem(const Communicator& communicator, const CheckedCollective& c) {
  if (!environment().allows_multicast()) return refuse_multicast(c, "");
  if (c.members() == 1) return {};
  if (const std::string why = communicator.peers().multicast_refusal(c.group()); !why.empty())
    return refuse_multicast(c, why);
  if (c.info().reduces && !multimem_has(element_of(c.dtype), reduction_of(c)))
    return refuse_multicast(c,
                            fmt::format("it has no {} of {}", to_string(c.spec.reduce), to_string(c.dtype)));
  return {};
}

// The multicast address of the symmetric operand, in the pool of the call's group.
Result<std::byte*> multicast_address(GroupContext& context, const CheckedCollective& c) {
  const std::shared_ptr<SymmetricPool> pool = PERI_TRY(context.pool());
  const int64_t offset = c.symmetric(c.me()) - pool->data(c.me());
  std::byte* address = pool->multicast().address(
      offset, (c.algorithm().symmetric == kInput ? c.input_bytes() : c.output_bytes()).count());
  if (!address) return refuse_multicast(c, pool->multicast().refusal());
  return address;
}

}  // namespace

std::unique_ptr<GroupContext> Communicator::make_context(const Group& group) {
  return std::make_unique<GroupContext>(control(), monitor_, device_, group, peers_.multicast_refusal(group));
}

Result<std::unique_ptr<Channel>> Communicator::open_channel(const Group& group, int from, int to,
                                                            const job::Operation& operation) {
  return Channel::open(control(), device_, group, from, to, operation);
}

// A rank says that it has stopped only when its device has: kernels of ours see that the generation has ended
// and give up, those of NCCL are aborted by the monitor.
Status Communicator::recover() {
  control().stop_generation();
  PERI_TRY(device_->finish());
  auto paused = monitor_.pause();
  PERI_TRY(control().recover([this]() -> Status {
    if (nccl_) nccl_->reset();
    PERI_TRY(monitor_.reset());
    return reset();
  }));
  paused.unlock();
  return settle();
}

Result<Nccl*> Communicator::nccl(const Group& group, const job::Operation& operation) {
  PERI_TRY(peers_.check_nccl(group, operation));
  if (!nccl_) nccl_ = PERI_TRY(Nccl::create(control(), monitor_, device_));
  return nccl_.get();
}

Result<std::unique_ptr<StreamCall>> prepare_collective(Communicator& communicator, const CollectiveSpec& spec,
                                                       std::span<const Operand> inputs,
                                                       std::span<const Operand> outputs, bool now) {
  job::Control& control = communicator.control();
  CheckedCollective c =
      PERI_TRY(check_collective(spec, inputs, outputs, control.options(), [&](const std::byte* address) {
        return communicator.blocks()->find(address);
      }));
  const bool multicast = uses_multicast(c.algorithm().algorithm);
  if (multicast) PERI_TRY(check_multimem(communicator, c));
  GroupContext* context = PERI_TRY(communicator.context(c.group()));
  if (c.members() == 1) return std::make_unique<CopyCall>(std::move(c), communicator);
  PERI_TRY(communicator.monitor().can_communicate(c.operation));
  if (now) control.enter(c.operation);
  // What needs no symmetric operand goes through NCCL by itself where there is no P2P.
  const Status reach = communicator.peers().check_memory(
      c.is_message() ? Group{{control.rank(), c.spec.peer}} : c.group(), c.operation);
  if (c.algorithm().algorithm == Algorithm::nccl || (!reach && !c.is_message()))
    return PERI_TRY(communicator.nccl(c.group(), c.operation))->prepare(std::move(c), !now);
  PERI_TRY(reach);
  if (c.is_message()) {
    const bool sending = c.info().inputs > 0;
    const int me = control.rank(), peer = c.spec.peer;
    Channel* channel =
        PERI_TRY(communicator.channel(c.group(), sending ? me : peer, sending ? peer : me, c.operation));
    return std::make_unique<MessageCall>(std::move(c), communicator, *channel);
  }
  PERI_TRY(context->ensure(c.operation));
  if (!c.memory) return std::make_unique<StagedCall>(std::move(c), communicator, *context);
  switch (c.algorithm().algorithm) {
    case Algorithm::one_shot:
    case Algorithm::two_shot:
      return std::make_unique<DirectCall>(std::move(c), communicator, *context);
    case Algorithm::multimem_one_shot:
    case Algorithm::multimem: {
      std::byte* address = PERI_TRY(multicast_address(*context, c));
      return std::make_unique<MultimemCall>(std::move(c), communicator, *context, address);
    }
    case Algorithm::ll:
    case Algorithm::nccl:
      break;
  }
  PERI_CHECK(false, "an algorithm that needs no symmetric memory has some");
  return nullptr;
}

Status issue_barrier(GroupContext& context, uint64_t signature, const job::Operation& operation) {
  if (context.size() == 1) return {};
  CollectiveArguments a{};
  a.group = context.view();
  a.watch = context.monitor().watch();
  a.operation = context.monitor().number(operation);
  a.signature = folded(signature);
  a.element = Element::u8;
  a.root = a.receiver = -1;
  return check(launch_ll(a, context.device()->stream()), operation.text());
}

}  // namespace peri::kernels::cuda
