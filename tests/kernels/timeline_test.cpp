// Timelines on the host backend: what is there, how it nests, how large it is called, and that it is JSON
// whatever names occur; how many events are taken.
#include <catch2/catch.hpp>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <thread>

#include "kernels/forwarding_backend.hpp"
#include "kernels/timeline/timed_backend.hpp"
#include "tests/support/ranks.hpp"

using namespace peri;
using namespace peri::kernels;
using namespace peri::test;

namespace {

using Json = nlohmann::json;

class Sink final : public TimelineSink {
 public:
  void write(std::string_view events) override { text += events; }
  void finish() override { ++finished; }
  std::string text;
  int finished = 0;

  // All that came, and of that what lies in a lane.
  std::vector<Json> events() const {
    Json all = Json::parse("[" + text.substr(0, text.rfind(',')) + "]");
    return {all.begin(), all.end()};
  }
  std::vector<Json> lane(Lane lane) const {
    std::vector<Json> result;
    for (Json& event : events())
      if (event["ph"] == "X" && event["tid"] == static_cast<int>(lane)) result.push_back(event);
    return result;
  }
};

struct Rig {
  Sink sink;
  std::unique_ptr<Backend> backend;
  std::vector<std::shared_ptr<Storage>> storages;
  explicit Rig(int64_t max_events = Timeline::kMaxEvents)
      : backend(with_timeline(*create_host_backend(test::job_options(1)), sink, max_events)) {}
  Operand make(Shape shape) {
    storages.push_back(*backend->allocate(Bytes(numel(shape) * 4), Place::device));
    return {storages.back()->data(), {DType::f32, View::contiguous(shape)}};
  }
};

KernelSpec doubling() {
  KernelSpec spec;
  spec.fused = {
      .operand_dtypes = {DType::f32}, .instructions = {{Op::add, {0, 0}, DType::f32}}, .results = {1}};
  return spec;
}

CollectiveSpec all_reduce(int ranks) {
  CollectiveSpec spec{.op = Op::all_reduce,
                      .algorithm = find_algorithm(Op::all_reduce, Algorithm::ll),
                      .group = world_group(ranks)};
  spec.origin = {"a \"b\" \xff.lua", 7};
  return spec;
}

double end_of(const Json& event) {
  return event["ts"].get<double>() + event["dur"].get<double>();
}

// Microseconds with three decimals are doubles here.
constexpr double kRounding = 0.0015;

}  // namespace

TEST_CASE("a timeline names its lanes and tells every call in order") {
  Rig rig;
  Operand x = rig.make({4, 8}), y = rig.make({4, 8});
  REQUIRE(rig.backend->launch(doubling(), {&x, 1}, {&y, 1}));
  REQUIRE(rig.backend->copy(y, x));
  REQUIRE(rig.backend->synchronize());
  rig.backend->leave();
  rig.backend->leave();
  CHECK(rig.sink.finished == 1);

  const auto events = rig.sink.events();
  CHECK(events[0]["args"]["name"] == "rank 0 (host)");
  CHECK(events[2]["args"]["name"] == "script");
  CHECK(events[3]["args"]["name"] == "stream");
  const auto stream = rig.sink.lane(Lane::stream);
  REQUIRE(stream.size() == 2);
  CHECK(stream[0]["name"] == "add");
  CHECK(stream[0]["cat"] == "kernel");
  CHECK(stream[0]["args"]["bytes"] == 2 * 4 * 8 * 4);
  CHECK(stream[0]["args"]["inputs"] == "f32[4,8]");
  CHECK(stream[1]["name"] == "copy");
  CHECK(stream[1]["args"]["bytes"] == 4 * 8 * 4);
  CHECK(stream[0]["ts"] > 0);
  CHECK(end_of(stream[0]) <= stream[1]["ts"].get<double>() + kRounding);
  const auto script = rig.sink.lane(Lane::script);
  REQUIRE(script.size() == 3);
  CHECK(script[2]["name"] == "synchronize");
}

TEST_CASE("each replay tells each of its calls") {
  Rig rig;
  Operand x = rig.make({1 << 22}), y = rig.make({1 << 22}), z = rig.make({16});
  std::fill_n(reinterpret_cast<float*>(x.data), 1 << 22, 5.0f);
  const std::vector<ProgramStep> steps{KernelStep{doubling(), {x}, {y}, {}},
                                       CollectiveStep{all_reduce(1), {{y.data, z.type}}, {z}}};
  auto recording = rig.backend->prepare(steps, Marks::none);
  REQUIRE(recording);
  CHECK((*recording)->step_count() == 2);
  auto replay = [&] {  // us until it has returned, and on the host been done
    const auto begin = std::chrono::steady_clock::now();
    REQUIRE(rig.backend->replay(**recording));
    return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count();
  };
  const double first = replay();
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  const double second = replay();
  recording->reset();  // before its times were asked for
  CHECK(reinterpret_cast<float*>(z.data)[3] == 10);
  rig.backend->leave();

  const auto stream = rig.sink.lane(Lane::stream);
  REQUIRE(stream.size() == 6);
  double last = 0;
  for (size_t i : {0u, 3u}) {
    CHECK(stream[i]["name"] == "replay");
    CHECK(stream[i]["args"]["calls"] == 2);
    CHECK(stream[i + 1]["name"] == "add");
    CHECK(stream[i + 2]["name"] == "all_reduce");
    CHECK(stream[i]["ts"].get<double>() >= last - kRounding);
    CHECK(stream[i + 1]["ts"].get<double>() >= stream[i]["ts"].get<double>() - kRounding);
    CHECK(stream[i + 2]["ts"].get<double>() >= end_of(stream[i + 1]) - kRounding);
    CHECK(end_of(stream[i + 2]) <= end_of(stream[i]) + kRounding);
    // The sum of 16 MiB takes longer than everything else.
    CHECK(2 * stream[i + 1]["dur"].get<double>() > stream[i]["dur"].get<double>());
    // The second replay's times are not taken for the first one's.
    CHECK(stream[i]["dur"].get<double>() <= (i == 0 ? first : second) + kRounding);
    last = end_of(stream[i]);
  }
}

TEST_CASE("a collective tells its bytes, its bandwidth, and where it comes from in valid UTF-8") {
  const auto results = run_threads(test::job_options(2), [](Backend& inner) -> std::string {
    Sink sink;
    struct Lent final : ForwardingBackend {
      using ForwardingBackend::ForwardingBackend;
    };
    auto backend = with_timeline(std::make_unique<Lent>(inner), sink);
    auto memory = *backend->allocate(Bytes(2 * 4096), Place::device);
    Operand x{memory->data(), {DType::f32, View::contiguous({1024})}}, y = x;
    y.data += 4096;
    if (!backend->collective(all_reduce(2), {&x, 1}, {&y, 1})) return "it failed";
    backend->leave();
    const auto stream = sink.lane(Lane::stream);
    if (stream.size() != 1) return "events: " + std::to_string(stream.size());
    const Json& args = stream[0]["args"];
    const double nanoseconds = stream[0]["dur"].get<double>() * 1e3;
    // nccl-tests: bytes / time x 2 (n - 1) / n, which is 1 for two ranks.
    if (std::abs(args["bus GB/s"].get<double>() * nanoseconds / 4096 - 1) > 0.01) return stream[0].dump();
    return args["bytes"] == 4096 && args["at"] == "a \"b\" ?.lua:7" && args["algorithm"] == "ll" &&
                   args["group"] == "{0,1}" && stream[0]["cat"] == "collective"
               ? ""
               : stream[0].dump();
  });
  check_well(results);
}

TEST_CASE("what fails is told too, and what was seen before is written") {
  Rig rig;
  Operand x = rig.make({4}), y = rig.make({5});
  CHECK_FALSE(rig.backend->collective(all_reduce(1), {&x, 1}, {&y, 1}));
  rig.backend->abort({Code::ScriptError, "stop", {}, {}, {}});
  const auto events = rig.sink.events();
  CHECK(events.back()["ph"] == "i");
  CHECK(events.back()["args"]["message"] == "stop");
  const auto script = rig.sink.lane(Lane::script);
  REQUIRE(script.size() == 1);
  CHECK(script[0]["args"].contains("error"));
  CHECK(rig.sink.finished == 0);
}

TEST_CASE("a timeline takes a bounded number of events, and the program goes on") {
  Rig rig(10);
  Operand x = rig.make({4}), y = rig.make({4});
  const std::vector<ProgramStep> steps{KernelStep{doubling(), {x}, {y}, {}}};
  auto recording = rig.backend->prepare(steps, Marks::none);
  for (int i = 0; i < 20; ++i) {
    REQUIRE(rig.backend->launch(doubling(), {&x, 1}, {&y, 1}));
    reinterpret_cast<float*>(x.data)[0] = static_cast<float>(i);
    REQUIRE(rig.backend->replay(**recording));
    CHECK(reinterpret_cast<float*>(y.data)[0] == static_cast<float>(2 * i));
  }
  rig.backend->leave();
  const auto events = rig.sink.events();
  CHECK(events.size() == 4 + 10);
  CHECK(events.back()["cat"] == "timeline");
}
