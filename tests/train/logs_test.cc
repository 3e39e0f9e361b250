// TensorBoard's event files, log.csv, log.jsonl.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <map>

#include "base/file.h"
#include "support/temporary_folder.h"
#include "train/log.h"
#include "train/tensorboard.h"

namespace spatialmamba::train {
namespace {

/// A reader of event files, written from the formats' descriptions and independent of the writer.
class EventReader {
 public:
  explicit EventReader(const std::string& file) : rest_(file) {}

  struct Event {
    double wall_time = 0.0;
    std::int64_t step = 0;
    std::string file_version;
    std::uint64_t session_status = 0;
    std::map<std::string, float> scalars;
  };

  std::vector<Event> read_all() {
    std::vector<Event> events;
    while (!rest_.empty()) events.push_back(read_record());
    return events;
  }

 private:
  template <typename T>
  static T take(std::string_view& from) {
    T value{};
    EXPECT_GE(from.size(), sizeof(T));
    std::memcpy(&value, from.data(), sizeof(T));
    from.remove_prefix(sizeof(T));
    return value;
  }

  static std::uint64_t take_varint(std::string_view& from) {
    std::uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
      const auto byte = take<std::uint8_t>(from);
      value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
      if ((byte & 0x80) == 0) return value;
    }
  }

  static std::string_view take_bytes(std::string_view& from) {
    const std::uint64_t size = take_varint(from);
    const std::string_view bytes = from.substr(0, size);
    from.remove_prefix(size);
    return bytes;
  }

  static std::uint32_t mask(std::uint32_t crc) { return ((crc >> 15) | (crc << 17)) + 0xA282EAD8U; }

  Event read_record() {
    const std::string_view length_bytes = rest_.substr(0, 8);
    const auto length = take<std::uint64_t>(rest_);
    EXPECT_EQ(take<std::uint32_t>(rest_), mask(crc32c(length_bytes)));
    std::string_view data = rest_.substr(0, length);
    rest_.remove_prefix(length);
    EXPECT_EQ(take<std::uint32_t>(rest_), mask(crc32c(data)));
    return read_event(data);
  }

  static Event read_event(std::string_view data) {
    Event event;
    while (!data.empty()) {
      switch (take_varint(data)) {
        case 1 << 3 | 1:
          event.wall_time = take<double>(data);
          break;
        case 2 << 3:
          event.step = static_cast<std::int64_t>(take_varint(data));
          break;
        case 3 << 3 | 2:
          event.file_version = take_bytes(data);
          break;
        case 5 << 3 | 2:
          read_summary(take_bytes(data), event);
          break;
        case 7 << 3 | 2: {
          std::string_view log = take_bytes(data);
          EXPECT_EQ(take_varint(log), 1U << 3);
          event.session_status = take_varint(log);
          break;
        }
        default:
          ADD_FAILURE() << "unknown field";
          return event;
      }
    }
    return event;
  }

  static void read_summary(std::string_view data, Event& event) {
    while (!data.empty()) {
      EXPECT_EQ(take_varint(data), 1U << 3 | 2U);
      std::string_view value = take_bytes(data);
      EXPECT_EQ(take_varint(value), 1U << 3 | 2U);
      const std::string tag(take_bytes(value));
      EXPECT_EQ(take_varint(value), 2U << 3 | 5U);
      event.scalars[tag] = take<float>(value);
    }
  }

  std::string_view rest_;
};

TEST(TensorBoard, ChecksumIsTheStandardsOwn) {
  EXPECT_EQ(crc32c("123456789"), 0xE3069283U);            // the check value of CRC-32C
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAU);  // RFC 3720, B.4
}

TEST(TensorBoard, EventsReadBack) {
  const test::TemporaryFolder folder;
  TensorBoardLog log(folder.path(), 300);
  const std::vector<Scalar> first = {{"train/loss", 0.5F},
                                     {"a much longer tag/" + std::string(200, 'x'), -1.25F}};
  log.write(301, first);
  const std::vector<Scalar> second = {{"train/loss", 0.25F}};
  log.write(1'000'000'000'000, second);
  const std::string content = read_text(log.path());
  const auto events = EventReader(content).read_all();
  ASSERT_EQ(events.size(), 4U);
  EXPECT_EQ(events[0].file_version, "brain.Event:2");
  EXPECT_GT(events[0].wall_time, 1.6e9);
  EXPECT_EQ(events[1].session_status, 1U);
  EXPECT_EQ(events[1].step, 300);
  EXPECT_EQ(events[2].step, 301);
  EXPECT_EQ(events[2].scalars.at("train/loss"), 0.5F);
  EXPECT_EQ(events[2].scalars.at(first[1].tag), -1.25F);
  EXPECT_EQ(events[3].step, 1'000'000'000'000);
}

TEST(TensorBoard, RealTensorBoardReadsTheFile) {
  const test::TemporaryFolder folder;
  TensorBoardLog log(folder.path(), 0);
  for (int step = 1; step <= 3; ++step) {
    const std::array scalars = {Scalar{"train/loss", 1.0F / static_cast<float>(step)}};
    log.write(step, scalars);
  }
  const char* python = std::getenv("SPATIALMAMBA_PYTHON");
  const std::string interpreter = python != nullptr ? python : "python3";
  if (std::system((interpreter + " -c 'import tensorboard' 2>/dev/null").c_str()) != 0) {
    GTEST_SKIP() << "no Python with tensorboard ($SPATIALMAMBA_PYTHON names the interpreter)";
  }
  const std::string script = folder.path() / "read.py";
  write_text(script, R"(
import sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1])
events.Reload()
values = [(e.step, round(e.value, 6)) for e in events.Scalars('train/loss')]
assert values == [(1, 1.0), (2, 0.5), (3, round(1 / 3, 6))], values
)");
  EXPECT_EQ(std::system((interpreter + " " + script + " " + folder.path().string()).c_str()), 0);
}

EpochRecord example(std::int64_t epoch) {
  EpochRecord record{.epoch = epoch, .update = 10 * epoch, .train_loss = 0.1};
  if (epoch == 2) record.top1 = 1.0 / 3.0;
  return record;
}

TEST(Log, EpochRecordsSurviveJson) {
  for (const std::int64_t epoch : {1, 2}) {
    const EpochRecord record = example(epoch);
    const EpochRecord again = epoch_record(nlohmann::json::parse(to_json(record).dump()));
    EXPECT_EQ(to_json(again), to_json(record));
    EXPECT_EQ(again.top1, record.top1);
  }
  EXPECT_THROW(epoch_record(nlohmann::json::object()), Error);
  EXPECT_THROW(epoch_record(nlohmann::json::parse("3")), Error);
}

TEST(Log, CsvLeavesEmptyWhatThereIsNot) {
  const test::TemporaryFolder folder;
  write_csv(folder.path() / "log.csv", {example(1), example(2)});
  const std::string text = read_text(folder.path() / "log.csv");
  EXPECT_THAT(text, testing::StartsWith("epoch,update,learning_rate,train_loss"));
  EXPECT_THAT(text, testing::HasSubstr("\n1,10,0,0.1,0,0,0,,,,,,\n2,20,"));
  EXPECT_THAT(text, testing::HasSubstr("0.3333333333333333"));
}

TEST(Log, JsonLinesContinueAfterTheCheckpoint) {
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "log.jsonl";
  {
    JsonLines lines(path, 0);
    for (const int update : {5, 10, 15}) lines.write({{"update", update}, {"loss", 0.5}});
  }
  write_text(path, read_text(path) + "{\"update\": 20, \"lo");  // killed while writing
  {
    JsonLines lines(path, 10);
    lines.write({{"update", 11}});
  }
  EXPECT_EQ(read_text(path), "{\"update\":5,\"loss\":0.5}\n{\"update\":10,\"loss\":0.5}\n{\"update\":11}\n");
}

}  // namespace
}  // namespace spatialmamba::train
