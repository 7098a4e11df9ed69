#include "kernels/cuda/symmetric/shared_blocks.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/bytes.hpp"

namespace peri::kernels::cuda {
namespace {

CUmemAllocationProp properties(int device) {
  CUmemAllocationProp p{};
  p.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  p.requestedHandleTypes = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;
  p.location = {CU_MEM_LOCATION_TYPE_DEVICE, device};
  return p;
}

CUdeviceptr pointer(const std::byte* address) {
  return reinterpret_cast<CUdeviceptr>(address);
}

}  // namespace

Result<os::Fd> export_memory(CUmemGenericAllocationHandle memory) {
  int file = -1;
  PERI_TRY(check(driver().export_handle(&file, memory, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0),
                 "sharing memory of the GPU"));
  return os::Fd(file);
}

Result<CUmemGenericAllocationHandle> import_memory(const os::Fd& file) {
  CUmemGenericAllocationHandle handle = 0;
  PERI_TRY(check(driver().import_handle(&handle, reinterpret_cast<void*>(static_cast<intptr_t>(file.get())),
                                        CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR),
                 "memory of a peer's GPU"));
  return handle;
}

Status SharedBlocks::reserve_addresses(int64_t most) {
  const CUmemAllocationProp p = properties(device_->index());
  size_t granularity = 0;
  PERI_TRY(
      check(driver().granularity(&granularity, &p, CU_MEM_ALLOC_GRANULARITY_RECOMMENDED), "granularity"));
  unit_ = static_cast<int64_t>(granularity);
  stride_ = std::max<int64_t>((most + unit_ - 1) / unit_ * unit_, unit_);
  CUdeviceptr range = 0;
  PERI_TRY(check(driver().reserve(&range, static_cast<size_t>(stride_ * members_), granularity, 0, 0),
                 "address space"));
  data_ = reinterpret_cast<std::byte*>(range);
  return {};
}

SharedBlocks::Chunk SharedBlocks::next_chunk(int64_t bytes) const {
  return {
      .offset = bytes_, .bytes = std::max<int64_t>((bytes + unit_ - 1) / unit_ * unit_, unit_), .mapped = {}};
}

Status SharedBlocks::map(Chunk& chunk, int member, CUmemGenericAllocationHandle handle) {
  const CUdeviceptr at = pointer(data(member) + chunk.offset);
  const auto bytes = static_cast<size_t>(chunk.bytes);
  PERI_TRY(check(driver().map(at, bytes, 0, handle, 0), "mapping memory of a GPU"));
  chunk.mapped.push_back(member);
  const CUmemAccessDesc access{{CU_MEM_LOCATION_TYPE_DEVICE, device_->index()},
                               CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
  return check(driver().set_access(at, bytes, &access, 1),
               fmt::format("GPU {} cannot reach the memory of a peer's GPU", device_->index()));
}

Status SharedBlocks::map_own(Chunk& chunk, int member) {
  const CUmemAllocationProp p = properties(device_->index());
  PERI_TRY(check(
      driver().create(&chunk.own, static_cast<size_t>(chunk.bytes), &p, 0),
      fmt::format("{} of symmetric memory on GPU {}", describe_bytes(Bytes(chunk.bytes)), device_->index())));
  PERI_TRY(map(chunk, member, chunk.own));
  PERI_TRY(check(cudaMemsetAsync(data(member) + chunk.offset, 0, static_cast<size_t>(chunk.bytes),
                                 device_->side_stream()),
                 "symmetric memory"));
  return check(cudaStreamSynchronize(device_->side_stream()), "symmetric memory");
}

Status SharedBlocks::map_file(Chunk& chunk, int member, const os::Fd& file) {
  const CUmemGenericAllocationHandle handle = PERI_TRY(import_memory(file));
  Status mapped = map(chunk, member, handle);
  driver().release(handle);  // the mapping keeps it
  return mapped;
}

Status SharedBlocks::exchange_files(Chunk& chunk, job::Control& control, const Group& group,
                                    const job::Operation& operation) {
  const int index = group.index_of(control.rank());
  os::Fd own;
  Status made = map_own(chunk, index);
  if (made) {
    Result<os::Fd> shared = export_memory(chunk.own);
    if (shared)
      own = std::move(*shared);
    else
      made = std::unexpected(shared.error());
  }
  PERI_TRY(job::agree(control, group, made, operation));

  const job::MessageKey key = control.next_key(job::tag_of(group, "block of GPU memory"));
  for (int peer : group.ranks)
    if (peer != control.rank()) PERI_TRY(control.send(peer, key, "", &own, operation));
  Status mapped;
  for (int m = 0; m < group.size(); ++m) {
    if (m == index) continue;
    const job::Message message =
        PERI_TRY(control.receive(group.ranks[static_cast<size_t>(m)], key, operation));
    if (mapped) mapped = map_file(chunk, m, message.file);
  }
  return job::agree(control, group, mapped, operation);
}

Result<os::Fd> SharedBlocks::share() const {
  return export_memory(chunks_.front().own);
}

void SharedBlocks::keep(Chunk chunk) {
  bytes_ += chunk.bytes;
  chunks_.push_back(std::move(chunk));
}

void SharedBlocks::drop(const Chunk& chunk) {
  for (int member : chunk.mapped)
    driver().unmap(pointer(data(member) + chunk.offset), static_cast<size_t>(chunk.bytes));
  if (chunk.own) driver().release(chunk.own);
}

Status SharedBlocks::grow(job::Control& control, const Group& group, int64_t bytes,
                          const job::Operation& operation) {
  if (bytes > stride_ - bytes_)
    return operation.fail(Code::OutOfMemory, fmt::format("{} more are wanted than GPU {} has",
                                                         describe_bytes(Bytes(bytes)), device_->index()));
  Chunk chunk = next_chunk(bytes);
  Status grown = exchange_files(chunk, control, group, operation);
  if (grown)
    keep(std::move(chunk));
  else
    drop(chunk);
  return grown;
}

Result<std::unique_ptr<SharedBlocks>> SharedBlocks::reserve(std::shared_ptr<Device> device, int members,
                                                            int64_t most) {
  std::unique_ptr<SharedBlocks> blocks(new SharedBlocks(std::move(device), members));
  PERI_TRY(blocks->reserve_addresses(most));
  return blocks;
}

Result<std::unique_ptr<SharedBlocks>> SharedBlocks::create(job::Control& control,
                                                           std::shared_ptr<Device> device, const Group& group,
                                                           int64_t bytes, const job::Operation& operation) {
  auto blocks = PERI_TRY(reserve(std::move(device), group.size(), bytes));
  PERI_TRY(blocks->grow(control, group, bytes, operation));
  return blocks;
}

Result<std::unique_ptr<SharedBlocks>> SharedBlocks::own(std::shared_ptr<Device> device, int64_t bytes) {
  auto blocks = PERI_TRY(reserve(std::move(device), 1, bytes));
  Chunk chunk = blocks->next_chunk(bytes);
  Status made = blocks->map_own(chunk, 0);
  blocks->keep(std::move(chunk));
  PERI_TRY(made);
  return blocks;
}

Result<std::unique_ptr<SharedBlocks>> SharedBlocks::map_others(std::shared_ptr<Device> device, int64_t bytes,
                                                               const os::Fd& file) {
  auto blocks = PERI_TRY(reserve(std::move(device), 1, bytes));
  Chunk chunk = blocks->next_chunk(bytes);
  Status made = blocks->map_file(chunk, 0, file);
  blocks->keep(std::move(chunk));
  PERI_TRY(made);
  return blocks;
}

// Kernels in the stream may still use the memory, so it stays mapped until they are done. Peers keep theirs.
SharedBlocks::~SharedBlocks() {
  device_->retire([data = data_, stride = stride_, members = members_, chunks = std::move(chunks_)] {
    for (const Chunk& chunk : chunks) {
      for (int member : chunk.mapped)
        driver().unmap(pointer(data + member * stride + chunk.offset), static_cast<size_t>(chunk.bytes));
      if (chunk.own) driver().release(chunk.own);
    }
    if (data) driver().free_address(pointer(data), static_cast<size_t>(stride * members));
  });
}

}  // namespace peri::kernels::cuda
