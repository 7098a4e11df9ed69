#include "kernels/cuda/symmetric/symmetric_memory.hpp"

#include <fmt/format.h>

#include "kernels/cuda/collectives/collective.hpp"
#include "kernels/cuda/collectives/launch.hpp"

namespace peri::kernels::cuda {

CudaSymmetricMemory::CudaSymmetricMemory(GroupContext& context, std::shared_ptr<SymmetricPool> pool,
                                         Bytes offset, Bytes bytes, uint64_t id)
    : SymmetricMemory(context.group(), context.index(), bytes, id),
      context_(context),
      pool_(std::move(pool)),
      offset_(offset) {}

Status CudaSymmetricMemory::barrier(std::string_view op) {
  job::Operation operation(fmt::format("{} over {}", op, group().to_string()), {});
  PERI_TRY(context_.monitor().can_communicate(operation));
  context_.control().enter(operation);
  PERI_TRY(context_.ensure(operation));
  return issue_barrier(context_, job::tag_of(group(), "barrier of symmetric memory"), operation);
}

Status CudaSymmetricMemory::put_signal(int member, int channel, std::string_view op, const Origin& origin) {
  job::Operation operation(fmt::format("{} over {}", op, group().to_string()), origin);
  PERI_TRY(context_.monitor().can_communicate(operation));
  context_.control().enter(operation);
  PERI_TRY(check_signal(Signalling::put, group(), index(), member, channel, kSignalChannels, operation));
  PERI_TRY(context_.ensure(operation));
  Monitor& monitor = context_.monitor();
  return check(launch_put_signal(context_.view(), monitor.watch(), monitor.number(operation), member, channel,
                                 context_.device()->stream()),
               operation.text());
}

Status CudaSymmetricMemory::wait_signal(int member, int channel, std::string_view op, const Origin& origin) {
  job::Operation operation(fmt::format("{} over {}", op, group().to_string()), origin);
  PERI_TRY(context_.monitor().can_communicate(operation));
  context_.control().enter(operation);
  PERI_TRY(check_signal(Signalling::wait, group(), index(), member, channel, kSignalChannels, operation));
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

Result<std::unique_ptr<SymmetricMemory>> make_symmetric_memory(GroupContext& context, Bytes bytes,
                                                               const job::Operation& operation) {
  PERI_TRY(context.ensure(operation));  // so that signals need not, which are not collective
  std::shared_ptr<SymmetricPool> pool = PERI_TRY(context.pool());
  const Bytes offset(PERI_TRY(pool->take(context.control(), bytes.count(), operation)));
  const uint64_t id = job::next_allocation(context.control(), context.group());
  return std::make_unique<CudaSymmetricMemory>(context, std::move(pool), offset, bytes, id);
}

}  // namespace peri::kernels::cuda
