// What the user sees of what ranks print. Time is invented; expected texts are written by hand.
#include "bindings/launcher/output.hpp"

#include <catch2/catch.hpp>

using namespace peri;
using namespace std::chrono_literals;

namespace {

struct Screen {
  explicit Screen(int ranks, launcher::Lines out = launcher::Lines::merged)
      : output(ranks, out, launcher::Lines::merged, [this](launcher::Stream stream, std::string text) {
          (stream == launcher::Stream::out ? shown : errors) += text;
        }) {}
  void feed(int rank, std::string_view bytes) { output.feed(rank, launcher::Stream::out, bytes, now); }
  void wait(std::chrono::milliseconds time) {
    now += time;
    output.tick(now);
  }
  void end(int rank) { output.end(rank, launcher::Stream::out, now); }
  std::string take() { return std::exchange(shown, {}); }

  launcher::RankOutput::Time now{};
  std::string shown, errors;
  launcher::RankOutput output;
};

}  // namespace

TEST_CASE("sets of ranks are written as ranges") {
  CHECK(launcher::ranks_to_string({0, 1, 2, 3}) == "0-3");
  CHECK(launcher::ranks_to_string({0, 2, 3, 7}) == "0,2-3,7");
  CHECK(launcher::ranks_to_string({5}) == "5");
}

TEST_CASE("a rank alone is shown as it writes") {
  Screen screen(1, launcher::Lines::separate);
  screen.feed(0, "pass");
  CHECK(screen.take() == "pass");
  screen.feed(0, std::string_view("word: \0\n", 8));
  CHECK(screen.take() == std::string("word: \0\n", 8));
}

TEST_CASE("lines are shown whole, marked with their rank") {
  Screen screen(2, launcher::Lines::separate);
  screen.feed(0, "one\ntw");
  CHECK(screen.take() == "[0] one\n");
  screen.feed(1, "other\n\n");
  CHECK(screen.take() == "[1] other\n[1] \n");
  screen.feed(0, "o\n");
  CHECK(screen.take() == "[0] two\n");
  screen.feed(1, "no newline");
  CHECK(screen.take().empty());
  screen.end(1);
  CHECK(screen.take() == "[1] no newline\n");
}

TEST_CASE("what all ranks write alike is shown once, at once") {
  Screen screen(3);
  screen.feed(0, "a\nb\n");
  screen.feed(2, "a\n");
  CHECK(screen.take().empty());
  screen.feed(1, "a\n");
  CHECK(screen.take() == "[0-2] a\n");
  screen.feed(1, "b\n");
  screen.feed(2, "b\n");
  CHECK(screen.take() == "[0-2] b\n");
  CHECK(!screen.output.next_deadline());
}

TEST_CASE("a line that only one rank writes waits 100 ms, and does not disturb the merging after it") {
  Screen screen(3);
  screen.feed(0, "loss 1\nstep\n");
  screen.feed(1, "step\n");
  screen.feed(2, "step\n");
  CHECK(screen.output.next_deadline() == screen.now + 100ms);
  screen.wait(99ms);
  CHECK(screen.take().empty());
  screen.wait(1ms);
  CHECK(screen.take() == "[0] loss 1\n[0-2] step\n");
  for (int rank : {0, 1, 2}) screen.feed(rank, "step\n");
  CHECK(screen.take() == "[0-2] step\n");
}

TEST_CASE("ranks that differ are shown in blocks, those that agree together") {
  Screen screen(4);
  for (int rank : {0, 2, 3}) screen.feed(rank, "x\ny\n");
  screen.feed(1, "x\nz\n");
  screen.wait(100ms);
  CHECK(screen.take() == "[0-3] x\n[0,2-3] y\n[1] z\n");
}

TEST_CASE("a late rank is not waited for, and catches up") {
  Screen screen(2);
  screen.feed(0, "a\n");
  screen.wait(100ms);
  CHECK(screen.take() == "[0] a\n");
  screen.feed(0, "b\n");
  screen.wait(50ms);
  screen.feed(1, "a\nb\n");
  CHECK(screen.take().empty());
  screen.wait(50ms);
  CHECK(screen.take() == "[1] a\n[0-1] b\n");
}

TEST_CASE("a young line is not shown with an old one") {
  Screen screen(2);
  screen.feed(0, "only 0\n");
  screen.wait(80ms);
  screen.feed(0, "both\n");
  screen.wait(20ms);
  CHECK(screen.take() == "[0] only 0\n");
  screen.feed(1, "both\n");
  CHECK(screen.take() == "[0-1] both\n");
}

TEST_CASE("a rank that has ended does not hold up the others, and its lines are kept") {
  Screen screen(3);
  screen.feed(2, "a\nlast");
  screen.end(2);
  for (int rank : {0, 1}) screen.feed(rank, "a\nb\n");
  CHECK(screen.take() == "[0-2] a\n");
  screen.wait(100ms);
  CHECK(screen.take() == "[0-1] b\n[2] last\n");
  for (int rank : {0, 1}) screen.feed(rank, "c\n");
  CHECK(screen.take() == "[0-1] c\n");
}

TEST_CASE("when all ranks have ended nothing waits") {
  Screen screen(2);
  screen.feed(0, "a\nb");
  screen.feed(1, "c\nb");
  screen.end(0);
  screen.end(1);
  CHECK(screen.take() == "[0] a\n[1] c\n[0-1] b\n");
  CHECK(!screen.output.next_deadline());
}

TEST_CASE("a rank far ahead is held back; ranks that differ in bulk do not wait") {
  Screen screen(2);
  std::string line(1 << 20, 'x');
  for (int i = 0; i < 5; ++i) screen.feed(0, line + "\n");
  CHECK(screen.output.full(0, launcher::Stream::out));
  CHECK(!screen.output.full(1, launcher::Stream::out));
  screen.feed(1, "y\n");
  CHECK(screen.take().size() == 5 * (line.size() + 5) + 6);
  CHECK(!screen.output.full(0, launcher::Stream::out));
}

TEST_CASE("random output of three ranks: every rank's lines arrive once and in order, within 100 ms") {
  uint64_t state = 7;
  auto random = [&](uint64_t n) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (state >> 33) % n;
  };
  for (int round = 0; round < 200; ++round) {
    Screen screen(3);
    std::vector<std::vector<std::string>> wrote(3), saw(3);
    for (int step = 0; step < 200; ++step) {
      int rank = static_cast<int>(random(3));
      std::string line(1, static_cast<char>('a' + random(3)));
      wrote[rank].push_back(line);
      screen.feed(rank, line + "\n");
      screen.wait(std::chrono::milliseconds(random(30)));
      if (auto next = screen.output.next_deadline()) REQUIRE(*next > screen.now);
    }
    for (int rank : {0, 1, 2}) screen.end(rank);
    screen.wait(100ms);
    for (size_t at = 0; at < screen.shown.size();) {
      size_t close = screen.shown.find(']', at), newline = screen.shown.find('\n', at);
      std::string ranks = screen.shown.substr(at + 1, close - at - 1);
      for (int rank : {0, 1, 2}) {
        bool in_range = ranks == "0-2" || (ranks == "0-1" && rank < 2) || (ranks == "1-2" && rank > 0);
        if (in_range || ranks.find(static_cast<char>('0' + rank)) != std::string::npos)
          saw[rank].push_back(screen.shown.substr(close + 2, newline - close - 2));
      }
      at = newline + 1;
    }
    REQUIRE(saw == wrote);
  }
}

TEST_CASE("the last lines of stderr are repeated only when they have scrolled away") {
  Screen screen(2, launcher::Lines::separate);
  CHECK(screen.output.tail(1).said_nothing);
  for (int i = 0; i < 30; ++i)
    screen.output.feed(1, launcher::Stream::err, std::to_string(i) + "\n", screen.now);
  screen.wait(100ms);
  CHECK(screen.output.tail(1).scrolled_away.empty());
  for (int i = 0; i < 21; ++i) screen.feed(0, "chatter\n");
  auto tail = screen.output.tail(1);
  CHECK(!tail.said_nothing);
  REQUIRE(tail.scrolled_away.size() == 20);
  CHECK(tail.scrolled_away.front() == "10");
  CHECK(tail.scrolled_away.back() == "29");
}
