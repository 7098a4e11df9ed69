// A backend that hands every call on to another, for those that override a part: the timeline's, and tests'.
#pragma once

#include "kernels/backend.hpp"

namespace peri::kernels {

class ForwardingBackend : public Backend {
 public:
  explicit ForwardingBackend(Backend& to) : to_(to) {}

  std::string name() const override { return to_.name(); }
  const JobOptions& job() const override { return to_.job(); }
  std::string device_name() const override { return to_.device_name(); }
  const Topology& topology() const override { return to_.topology(); }
  Result<std::shared_ptr<Storage>> allocate(Bytes bytes, Place place) override {
    return to_.allocate(bytes, place);
  }
  Result<std::shared_ptr<Storage>> allocate_symmetric(Bytes bytes, const Group& group) override {
    return to_.allocate_symmetric(bytes, group);
  }
  const Group* symmetric_group(const std::byte* address) const override {
    return to_.symmetric_group(address);
  }
  SymmetricMemory* symmetric_memory(const Storage& storage) const override {
    return to_.symmetric_memory(storage);
  }
  Status launch(const KernelSpec& spec, std::span<const Operand> inputs,
                std::span<const Operand> outputs) override {
    return to_.launch(spec, inputs, outputs);
  }
  Status collective(const CollectiveSpec& spec, std::span<const Operand> inputs,
                    std::span<const Operand> outputs) override {
    return to_.collective(spec, inputs, outputs);
  }
  Status copy(const Operand& from, const Operand& to) override { return to_.copy(from, to); }
  Result<std::unique_ptr<Recording>> prepare(std::span<const ProgramStep> steps, Marks marks) override {
    return to_.prepare(steps, marks);
  }
  Status replay(const Recording& recording) override { return to_.replay(recording); }
  bool follows_blocks() const override { return to_.follows_blocks(); }
  Status synchronize() override { return to_.synchronize(); }
  Result<std::unique_ptr<Mark>> mark() override { return to_.mark(); }
  std::vector<std::optional<int64_t>> times(std::span<const Mark* const> marks) override {
    return to_.times(marks);
  }
  Result<std::vector<std::string>> exchange(const Group& group, const std::string& text,
                                            const std::string& what) override {
    return to_.exchange(group, text, what);
  }
  std::atomic<bool>& interrupt_flag() override { return to_.interrupt_flag(); }
  void abort(const Error& cause) override { to_.abort(cause); }
  uint32_t generation() const override { return to_.generation(); }
  Status recover() override { return to_.recover(); }
  void leave() override { to_.leave(); }

 protected:
  Backend& to_;
};

}  // namespace peri::kernels
