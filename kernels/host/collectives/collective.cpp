#include "kernels/host/collectives/collective.hpp"
#include "kernels/host/collectives/collective_copy.hpp"

#include <algorithm>
#include <cstring>

namespace peri::kernels::host {
namespace {

// With one member every collective is a copy.
class CopyCall final : public Call {
 public:
  explicit CopyCall(const CheckedCollective& c)
      : input_(c.input), output_(c.output), bytes_(c.input_bytes()) {}
  Status run() override {
    if (output_ != input_ && bytes_ > 0) std::memmove(output_, input_, static_cast<size_t>(bytes_));
    return {};
  }

 private:
  const std::byte* input_;
  std::byte* output_;
  int64_t bytes_;
};

}  // namespace

Result<GroupContext*> Communicator::context(const Group& group) {
  auto& context = contexts_[group];
  if (context) return context.get();
  if (Status valid = check_group(group, control_->rank(), control_->options().world_size); !valid) {
    contexts_.erase(group);
    return std::unexpected(std::move(valid).error());
  }
  context = std::make_unique<GroupContext>(*control_, group);
  return context.get();
}

Result<Channel*> Communicator::channel(const Group& group, int from, int to,
                                       const job::Operation& operation) {
  auto& channel = channels_[{group, from, to}];
  if (!channel) channel = PERI_TRY(Channel::open(*control_, group, from, to, operation));
  return channel.get();
}

void copy_window(std::byte* to, const Window& to_window, const std::byte* from, const Window& from_window,
                 int64_t at, int64_t length) {
  for (const int64_t end = at + length; at < end;) {
    int64_t run = std::min({end - at, to_window.row_bytes - at % to_window.row_bytes,
                            from_window.row_bytes - at % from_window.row_bytes});
    copy_bytes(to + to_window.address(at), from + from_window.address(at), run);
    at += run;
  }
}

Result<std::unique_ptr<Call>> prepare_collective(Communicator& communicator, const CollectiveSpec& spec,
                                                 const Operand& input, const Operand& output) {
  auto find = [&](const std::byte* address) { return communicator.blocks()->find(address); };
  CollectiveCall call =
      PERI_TRY(check_collective(spec, input, output, communicator.control().options(), find));
  GroupContext* context = PERI_TRY(communicator.context(call.group));
  ReduceArrays reduce = call.reduction ? reduce_arrays(call.dtype, *call.reduction) : nullptr;
  CheckedCollective c{std::move(call), communicator, *context, reduce};
  if (c.members() == 1) return std::make_unique<CopyCall>(c);
  if (c.algorithm.name == "nccl") {
    auto refused = c.operation.fail(Code::Unsupported, "NCCL is for GPUs, and the host backend has none");
    refused.error().hint = "leave the algorithm to the policy, or name ll, one_shot or two_shot";
    return refused;
  }
  if (c.algorithm.symmetric == kNoOperand) return staged_collective(std::move(c));
  return direct_collective(std::move(c));
}

}  // namespace peri::kernels::host
