#include "kernels/host/collectives/collective.hpp"
#include "kernels/host/collectives/collective_copy.hpp"

#include <algorithm>
#include <cstring>

namespace peri::kernels::host {
namespace {

// With one member every collective is a copy.
class CopyCall final : public HostCall {
 public:
  explicit CopyCall(HostCollective checked)
      : c_(std::move(checked)), bytes_(std::min(c_.input_bytes(), c_.output_bytes())) {}
  Status run() override {
    if (!c_.in_place() && bytes_ > Bytes()) std::memmove(c_.output, c_.input, bytes_.count());
    return {};
  }
  void move_operand(size_t operand, std::byte* data) override { c_.move_operand(operand, data); }

 private:
  HostCollective c_;
  Bytes bytes_;
};

}  // namespace

std::unique_ptr<GroupContext> Communicator::make_context(const Group& group) {
  return std::make_unique<GroupContext>(control(), group);
}

Result<std::unique_ptr<Channel>> Communicator::open_channel(const Group& group, int from, int to,
                                                            const job::Operation& operation) {
  return Channel::open(control(), group, from, to, operation);
}

Status Communicator::recover() {
  PERI_TRY(control().recover([this] { return reset(); }));
  return settle();
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

Result<std::unique_ptr<HostCall>> prepare_collective(Communicator& communicator, const CollectiveSpec& spec,
                                                     std::span<const Operand> inputs,
                                                     std::span<const Operand> outputs) {
  auto find = [&](const std::byte* address) { return communicator.blocks()->find(address); };
  CheckedCollective checked =
      PERI_TRY(check_collective(spec, inputs, outputs, communicator.control().options(), find));
  GroupContext* context = PERI_TRY(communicator.context(checked.group()));
  ReduceArrays reduce = checked.info().reduces ? reduce_arrays(checked.dtype, spec.reduce) : nullptr;
  HostCollective c{std::move(checked), communicator, *context, reduce};
  if (c.members() == 1) return std::make_unique<CopyCall>(std::move(c));
  switch (c.algorithm().algorithm) {
    case Algorithm::ll:
      return staged_collective(std::move(c));
    case Algorithm::one_shot:
    case Algorithm::two_shot:
    case Algorithm::multimem_one_shot:
    case Algorithm::multimem:
      return direct_collective(std::move(c));
    case Algorithm::nccl: {
      auto refused = c.operation.fail(Code::Unsupported, "NCCL is for GPUs, and the host backend has none");
      refused.error().hint = "leave the algorithm to the policy, or name ll, one_shot or two_shot";
      return refused;
    }
  }
  return c.operation.fail(Code::Unsupported, "no such algorithm");
}

}  // namespace peri::kernels::host
