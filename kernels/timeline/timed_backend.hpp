// Any backend with a timeline: every kernel, collective and copy between two marks of the stream, and what
// the script's thread did meanwhile. Recordings are replayed as they would be, in one piece, with marks among
// their calls. What is not traced is not wrapped, and so costs nothing.
#pragma once

#include <memory>

#include "kernels/backend.hpp"
#include "kernels/timeline/timeline.hpp"

namespace peri::kernels {

// The sink outlives the backend; it is finished when the backend leaves the job.
std::unique_ptr<Backend> with_timeline(std::unique_ptr<Backend> backend, TimelineSink& sink,
                                       int64_t max_events = Timeline::kMaxEvents);

}  // namespace peri::kernels
