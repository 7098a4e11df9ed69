#include "kernels/cuda/symmetric/symmetric_memory.hpp"

#include <fmt/format.h>

#include <limits>

#include "kernels/cuda/collectives/collective.hpp"
#include "kernels/cuda/collectives/launch.hpp"

namespace peri::kernels::cuda {

CudaSymmetricMemory::CudaSymmetricMemory(GroupContext& context, std::shared_ptr<SymmetricPool> pool,
                                         Bytes offset, Bytes bytes, uint64_t id)
    : context_(context),
      group_(context.group()),
      index_(context.index()),
      pool_(std::move(pool)),
      offset_(offset),
      bytes_(bytes),
      id_(id) {}

Status CudaSymmetricMemory::barrier(std::string_view op) {
  job::Operation operation(fmt::format("{} over {}", op, group_.to_string()), {});
  PERI_TRY(context_.monitor().can_communicate(operation));
  context_.control().enter(operation);
  PERI_TRY(context_.ensure(operation));
  return issue_barrier(context_, job::tag_of(group_, "barrier of symmetric memory"), operation);
}

Status CudaSymmetricMemory::put_signal(int member, int channel, std::string_view op) {
  job::Operation operation(fmt::format("{} over {}", op, group_.to_string()), {});
  PERI_TRY(context_.monitor().can_communicate(operation));
  context_.control().enter(operation);
  PERI_TRY(check_signal(Signalling::put, group_, index_, member, channel, kSignalChannels, operation));
  PERI_TRY(context_.ensure(operation));
  Monitor& monitor = context_.monitor();
  return check(launch_put_signal(context_.view(), monitor.watch(), monitor.number(operation), member, channel,
                                 context_.device()->stream()),
               operation.text());
}

Status CudaSymmetricMemory::wait_signal(int member, int channel, std::string_view op) {
  job::Operation operation(fmt::format("{} over {}", op, group_.to_string()), {});
  PERI_TRY(context_.monitor().can_communicate(operation));
  context_.control().enter(operation);
  PERI_TRY(check_signal(Signalling::wait, group_, index_, member, channel, kSignalChannels, operation));
  PERI_TRY(context_.ensure(operation));
  Monitor& monitor = context_.monitor();
  return check(launch_wait_signal(context_.view(), monitor.watch(), monitor.number(operation), member,
                                  channel, context_.device()->stream()),
               operation.text());
}

Status CudaSymmetricMemory::write(std::byte* to, const std::byte* source, Bytes bytes) {
  return check(cudaMemcpyAsync(to, source, bytes.count(), cudaMemcpyDefault, context_.device()->stream()),
               "copy to symmetric memory");
}

Status CudaSymmetricMemory::fill(std::byte* to, uint32_t value, int64_t count) {
  return check(launch_memset32(to, value, count, context_.device()->stream()), "memset32");
}

namespace {

class SymmetricStorage final : public Storage {
 public:
  SymmetricStorage(std::unique_ptr<CudaSymmetricMemory> memory, std::shared_ptr<SymmetricBlocks> known)
      : Storage(memory->buffer(memory->index()), memory->bytes(), Place::device,
                SymmetricAllocator{memory->group()}),
        memory_(std::move(memory)),
        known_(std::move(known)) {
    known_->insert(*memory_);
  }
  ~SymmetricStorage() override { known_->erase(*memory_); }

 private:
  std::unique_ptr<CudaSymmetricMemory> memory_;
  std::shared_ptr<SymmetricBlocks> known_;
};

}  // namespace

Result<std::shared_ptr<Storage>> allocate_symmetric(GroupContext& context,
                                                    std::shared_ptr<SymmetricBlocks> known, Bytes bytes,
                                                    const job::Operation& operation) {
  if (bytes < Bytes() || bytes > Bytes(std::numeric_limits<int64_t>::max() / (2 * context.size())))
    return operation.fail(Code::InvalidArgument, fmt::format("an allocation of {} bytes", bytes.count()));
  PERI_TRY(context.ensure(operation));  // so that signals need not, which are not collective
  std::shared_ptr<SymmetricPool> pool = PERI_TRY(context.pool());
  const Bytes offset(PERI_TRY(pool->take(context.control(), bytes.count(), operation)));
  const uint64_t id = job::next_allocation(context.control(), context.group());
  auto memory = std::make_unique<CudaSymmetricMemory>(context, std::move(pool), offset, bytes, id);
  return std::make_shared<SymmetricStorage>(std::move(memory), std::move(known));
}

}  // namespace peri::kernels::cuda
