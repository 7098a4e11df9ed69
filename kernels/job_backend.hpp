// What every backend does alike with its job, its memory and its recordings: which memory an address lies in,
// what is refused before anything is issued, how members agree.
#pragma once

#include "kernels/backend.hpp"
#include "kernels/job/control.hpp"
#include "kernels/memory/caching_allocator.hpp"
#include "kernels/prepare_steps.hpp"
#include "kernels/symmetric/symmetric_blocks.hpp"

namespace peri::kernels {

class JobBackend : public Backend {
 public:
  const JobOptions& job() const override { return control_->options(); }
  Result<std::shared_ptr<Storage>> allocate(Bytes bytes, Place place) override {
    return allocator_->allocate(bytes, place);
  }
  Result<std::shared_ptr<Storage>> allocate_symmetric(Bytes bytes, const Group& group) override;
  const Group* symmetric_group(const std::byte* address) const override;
  SymmetricMemory* symmetric_memory(const Storage& storage) const override {
    return blocks_->find(storage.data());
  }
  Result<std::vector<std::string>> exchange(const Group& group, const std::string& text,
                                            const std::string& what) override;
  std::atomic<bool>& interrupt_flag() override { return control_->interrupt_flag(); }
  void abort(const Error& cause) override { control_->abort(cause); }
  uint32_t generation() const override { return control_->generation(); }
  Status recover() override;

 protected:
  JobBackend(std::unique_ptr<job::Control> control, std::shared_ptr<CachingAllocator> allocator)
      : control_(std::move(control)), allocator_(std::move(allocator)) {}

  job::Control& control() const { return *control_; }
  CachingAllocator& allocator() const { return *allocator_; }
  const std::shared_ptr<SymmetricBlocks>& blocks() const { return blocks_; }
  // What must hold before anything is issued.
  virtual Status check_usable() const;
  Place place_of(const std::byte* address) const {
    return symmetric_group(address) ? Place::device : allocator_->place_of(address);
  }
  // The recording as one of this backend's, of this generation.
  template <class Made>
  Result<const Made*> check_recording(const Recording& recording) const {
    auto* made = dynamic_cast<const Made*>(&recording);
    if (!made) return fail(Code::InvalidArgument, "the recording was made by another backend");
    if (made->generation() != generation()) return fail(Code::InvalidArgument, kOutdatedRecording);
    return made;
  }

 private:
  // Collective over the group, which has been checked, as the number of bytes has.
  virtual Result<std::unique_ptr<SymmetricMemory>> make_symmetric_memory(Bytes bytes, const Group& group,
                                                                         const job::Operation& operation) = 0;
  // Collective over the world: begins the job's next generation.
  virtual Status begin_generation() = 0;

  // The latter two are shared with storages, which may outlive the backend.
  std::unique_ptr<job::Control> control_;
  std::shared_ptr<CachingAllocator> allocator_;
  std::shared_ptr<SymmetricBlocks> blocks_ = std::make_shared<SymmetricBlocks>();
};

// A recording as the backend's calls.
template <class Call>
class PreparedRecording : public Recording {
 public:
  PreparedRecording(PreparedSteps<Call> prepared, size_t steps, uint32_t generation)
      : prepared_(std::move(prepared)), steps_(static_cast<int>(steps)), generation_(generation) {}
  int step_count() const override { return steps_; }
  std::span<const std::unique_ptr<Mark>> marks() const override { return prepared_.marks; }
  std::span<const std::unique_ptr<Call>> calls() const { return prepared_.calls; }
  uint32_t generation() const { return generation_; }

 private:
  PreparedSteps<Call> prepared_;
  int steps_;
  uint32_t generation_;
};

}  // namespace peri::kernels
