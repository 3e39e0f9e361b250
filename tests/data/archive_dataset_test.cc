// Pictures in zip archives, lists and tar shards: what they hold, in which order, and what becomes of damaged
// ones.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <numeric>
#include <set>

#include "archive/tar.h"
#include "archive/zip.h"
#include "base/file.h"
#include "base/random.h"
#include "data/dataset.h"
#include "data/loader.h"
#include "data/shards.h"
#include "data/tar_files.h"
#include "image/codec.h"
#include "spatialmamba/error.h"
#include "support/temporary_folder.h"

namespace spatialmamba::data {
namespace {

using test::tar_end;
using test::tar_member;
using test::TemporaryFolder;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

/// A PNG of one level, so that it decodes to exactly that.
std::string picture(int level) {
  image::Image image(5, 4, 3);
  std::fill(image.pixels.begin(), image.pixels.end(), static_cast<std::uint8_t>(level));
  const auto bytes = image::encode_png(image);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Unlike write_text() it does not wait for the disk, which matters a thousand times over.
void write_quickly(const std::filesystem::path& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

void write_zip(const std::filesystem::path& path,
               const std::vector<std::pair<std::string, std::string>>& members) {
  ZipWriter zip(path);
  for (const auto& [name, content] : members) zip.add(name, content);
  zip.finish();
}

void write_zip_form(const std::filesystem::path& folder) {
  write_zip(folder / "train.zip",
            {{"n1/a.png", picture(10)}, {"n0/b.png", picture(20)}, {"n1/c.png", picture(30)}});
  write_text(folder / "train_map.txt", "n1/a.png\t1\nn0/b.png\t0\r\n\nn1/c.png\t1\n");
}

TEST(ZipDataset, ReadsPicturesInTheMapsOrder) {
  const TemporaryFolder folder;
  write_zip_form(folder.path());
  const Dataset dataset = open_dataset(folder.path(), Split::train);
  EXPECT_THAT(dataset.classes, ElementsAre("0", "1"));
  EXPECT_THAT(dataset.labels, ElementsAre(1, 0, 1));
  EXPECT_THAT(dataset.name(1), testing::EndsWith("train.zip: n0/b.png"));
  EXPECT_EQ(dataset.load(0).pixels[0], 10);
  EXPECT_EQ(dataset.load(2).pixels[0], 30);
}

TEST(ZipDataset, ClassesHaveNamesWhereThereAreSome) {
  const TemporaryFolder folder;
  write_zip_form(folder.path());
  write_text(folder.path() / "classes.txt", "ant\nbee\ncat\n");
  EXPECT_THAT(open_dataset(folder.path(), Split::train).classes, ElementsAre("ant", "bee", "cat"));
  write_text(folder.path() / "classes.txt", "ant\n");
  EXPECT_THAT([&] { open_dataset(folder.path(), Split::train); }, ThrowsMessage<Error>(HasSubstr("0 to 1")));
}

TEST(ZipDataset, BrokenMembersCostThemselvesOnly) {
  const TemporaryFolder folder;
  write_zip_form(folder.path());
  std::string zip = read_text(folder.path() / "train.zip");
  zip[zip.find(picture(20)) + 20] ^= 1;
  write_quickly(folder.path() / "train.zip", zip);
  write_text(folder.path() / "train_map.txt", "n1/a.png\t1\nn0/b.png\t0\nn0/none.png\t0\n");
  const Dataset dataset = open_dataset(folder.path(), Split::train);
  EXPECT_EQ(dataset.load(0).pixels[0], 10);
  EXPECT_THAT([&] { dataset.load(1); }, ThrowsMessage<Error>(HasSubstr("n0/b.png' is damaged")));
  EXPECT_THAT([&] { dataset.load(2); }, ThrowsMessage<Error>(HasSubstr("train.zip: has no n0/none.png")));
}

TEST(ZipDataset, MapsAreChecked) {
  const TemporaryFolder folder;
  write_zip_form(folder.path());
  const auto refuses = [&](const std::string& map, const char* message) {
    write_text(folder.path() / "train_map.txt", map);
    EXPECT_THAT([&] { open_dataset(folder.path(), Split::train); }, ThrowsMessage<Error>(HasSubstr(message)))
        << map;
  };
  refuses("", "lists no pictures");
  refuses("n1/a.png 1\n", "line 1");
  refuses("n1/a.png\t1\nn1/c.png\tone\n", "line 2");
  refuses("n1/a.png\t-1\n", "line 1");
  refuses("n1/a.png\t4000000000000\n", "expected less than");
}

TEST(Cache, KeepsWhatWasReadOnce) {
  const TemporaryFolder folder;
  write_quickly(folder.path() / "list.csv", "filename,label\na.png,x\n");
  write_quickly(folder.path() / "a.png", picture(70));
  DatasetOptions options;
  options.cache = true;
  const Dataset cached = csv_dataset(folder.path() / "list.csv", options);
  const Dataset plain = csv_dataset(folder.path() / "list.csv");
  EXPECT_EQ(cached.load(0).pixels[0], 70);
  std::filesystem::remove(folder.path() / "a.png");
  EXPECT_EQ(cached.load(0).pixels[0], 70);
  EXPECT_THROW(plain.load(0), Error);
}

TEST(JsonMapDataset, ReadsImagenet22kLists) {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder.path() / "n7");
  write_quickly(folder.path() / "n7" / "x.png", picture(44));
  const auto list = folder.path() / "ILSVRC2011fall_whole_map_train.txt";
  write_text(list, R"([["n7/x.png", 2], ["n7/x.png", 0, "ignored"]])");
  const Dataset dataset = open_dataset(folder.path(), Split::train);
  EXPECT_THAT(dataset.labels, ElementsAre(2, 0));
  EXPECT_THAT(dataset.classes, ElementsAre("0", "1", "2"));
  EXPECT_EQ(dataset.load(1).pixels[0], 44);
  for (const char* bad : {"", "[]", "{}", "[[1, 2]]", R"([["a", -1]])", R"([["a"]])", "[["}) {
    write_text(list, bad);
    EXPECT_THROW(open_dataset(folder.path(), Split::train), Error) << bad;
  }
}

std::string shard(int first, int count) {
  std::string tar;
  for (int i = first; i < first + count; ++i) {
    tar += tar_member(fmt::format("set/{:03}.png", i), picture(i));
    tar += tar_member(fmt::format("set/{:03}.cls", i), std::to_string(i % 3) + "\n");
    tar += tar_member(fmt::format("set/{:03}.json", i), "{}");
  }
  return tar;
}

void write_shards(const std::filesystem::path& folder) {
  write_quickly(folder / "train-0.tar", shard(0, 20) + tar_end());
  write_quickly(folder / "train-1.tar", shard(20, 13) + tar_end());
  write_quickly(folder / "val-0.tar", shard(0, 3) + tar_end());
}

TEST(Shards, HoldEverySampleOfEveryShard) {
  const TemporaryFolder folder;
  write_shards(folder.path());
  const Dataset dataset = open_dataset(folder.path(), Split::train);
  ASSERT_EQ(dataset.size(), 33);
  EXPECT_THAT(dataset.problems, testing::IsEmpty());
  EXPECT_THAT(dataset.name(20), testing::EndsWith("train-1.tar: set/020"));
  for (std::int64_t i = 0; i < dataset.size(); ++i) {
    EXPECT_EQ(dataset.labels[static_cast<std::size_t>(i)], i % 3);
    EXPECT_EQ(dataset.load(i).pixels[0], i);
  }
  EXPECT_EQ(open_dataset(folder.path(), Split::validation).size(), 3);
}

TEST(Shards, LongNamesOfGnuAndPax) {
  const TemporaryFolder folder;
  const std::string gnu(150, 'g');
  const std::string pax(150, 'p');
  const std::string record = " path=" + pax + ".png\n";
  write_quickly(folder.path() / "train.tar",
                tar_member("././@LongLink", gnu + ".png" + '\0', 'L') + tar_member("short", picture(1)) +
                    tar_member("././@LongLink", gnu + ".cls" + '\0', 'L') + tar_member("short", "1") +
                    tar_member("PaxHeaders/x", std::to_string(record.size() + 3) + record, 'x') +
                    tar_member("short", picture(2)) + tar_member(pax.substr(0, 99), "7") + tar_end());
  const Dataset dataset = shard_dataset({folder.path() / "train.tar"});
  ASSERT_EQ(dataset.size(), 1);
  EXPECT_THAT(dataset.name(0), testing::EndsWith(gnu));
  EXPECT_THAT(dataset.problems, ElementsAre(HasSubstr(pax + " has no class number")));
}

TEST(Shards, DamageIsCountedAndCostsWhatFollowsInItsShard) {
  const TemporaryFolder folder;
  write_shards(folder.path());
  std::string tar = shard(0, 20);
  tar[tar.find("set/011.png") + 1] ^= 1;  // the checksum of that header is wrong now
  write_quickly(folder.path() / "train-0.tar", tar);
  const Dataset dataset = open_dataset(folder.path(), Split::train);
  EXPECT_EQ(dataset.size(), 11 + 13);
  EXPECT_THAT(dataset.problems, ElementsAre(testing::AllOf(HasSubstr("train-0.tar"), HasSubstr("damaged"))));
  DatasetOptions strict;
  strict.strict = true;
  EXPECT_THROW(open_dataset(folder.path(), Split::train, strict), Error);
}

/// A copy that broke off between two members looks whole but for the missing mark.
TEST(Shards, AnArchiveThatIsCutOffIsNamed) {
  const std::string tar = shard(0, 20);
  for (const std::size_t cut : {tar.size(), tar.size() - 100, tar.size() / 2 + 1}) {
    const TemporaryFolder folder;
    write_shards(folder.path());
    write_quickly(folder.path() / "train-0.tar", tar.substr(0, cut));
    const Dataset dataset = open_dataset(folder.path(), Split::train);
    EXPECT_LE(dataset.size(), 20 + 13);
    EXPECT_GT(dataset.size(), 13);
    EXPECT_THAT(dataset.problems, ElementsAre(HasSubstr("train-0.tar"))) << cut;
  }
}

TEST(Shards, AnEpochThroughTheLoaderIsExact) {
  const TemporaryFolder folder;
  write_shards(folder.path());
  DatasetOptions options;
  options.shuffle_buffer = 8;
  const Dataset dataset = open_dataset(folder.path(), Split::train, options);
  image::EvalTransform transform;
  transform.format = {.height = 4, .width = 4};
  LoaderOptions loading;
  loading.batch_size = 4;
  loading.shuffle = true;
  std::set<std::vector<std::int64_t>> orders;
  for (loading.epoch = 0; loading.epoch < 2; ++loading.epoch) {
    std::vector<std::int64_t> seen;
    Loader loader(dataset, sample_transform(transform), loading);
    for (Batch batch; loader.next(batch);)
      seen.insert(seen.end(), batch.indices.begin(), batch.indices.end());
    orders.insert(seen);
    std::sort(seen.begin(), seen.end());
    EXPECT_EQ(seen, stored_order(dataset.size()));
  }
  EXPECT_EQ(orders.size(), 2U);
}

TEST(StreamOrder, EverySampleOnceAndTheSameEveryTime) {
  const std::vector<std::int64_t> sizes = {5, 0, 17, 1, 40};
  const std::int64_t total = std::reduce(sizes.begin(), sizes.end());
  for (const std::int64_t buffer : {1, 3, 16, 1000}) {
    const StreamOrder order = stream_order(sizes, buffer, 4, 2);
    EXPECT_EQ(order.samples, stream_order(sizes, buffer, 4, 2).samples);
    EXPECT_NE(order.samples, stream_order(sizes, buffer, 4, 3).samples);
    std::vector<std::int64_t> sorted = order.samples;
    std::sort(sorted.begin(), sorted.end());
    EXPECT_EQ(sorted, stored_order(total));
    const auto ahead =
        std::count_if(order.replacement.begin(), order.replacement.end(), [](auto i) { return i >= 0; });
    EXPECT_EQ(ahead, std::max<std::int64_t>(0, total - buffer));
  }
}

/// With a buffer of one sample each shard is read from front to back without a break.
TEST(StreamOrder, ShardsAreReadInTheirOrder) {
  const std::vector<std::int64_t> sizes = {30, 30, 30};
  const StreamOrder order = stream_order(sizes, 1, 9, 0);
  int jumps = 0;
  for (std::size_t i = 1; i < order.samples.size(); ++i)
    jumps += order.samples[i] != order.samples[i - 1] + 1;
  EXPECT_LE(jumps, 2);
}

/// Opens the data set and loads all of it: pictures or Errors, nothing else.
void exercise(const std::filesystem::path& folder) {
  try {
    const Dataset dataset = open_dataset(folder, Split::train);
    for (std::int64_t i = 0; i < dataset.size(); ++i) {
      try {
        dataset.load(i);
      } catch (const Error&) {
      }
    }
  } catch (const Error&) {
  }
}

class HostileArchive : public testing::TestWithParam<const char*> {};

TEST_P(HostileArchive, PrefixesAndFlippedBytesNeverCrash) {
  const TemporaryFolder folder;
  const std::filesystem::path file = folder.path() / GetParam();
  if (file.extension() == ".zip") {
    write_zip_form(folder.path());
  } else {
    write_quickly(file, tar_member("././@LongLink", "set/000.png", 'L') + shard(0, 3) +
                            tar_member("x", "19 path=set/009.png\n", 'x') + shard(9, 1) + tar_end());
  }
  const std::string whole = read_text(file);
  for (std::size_t length = 0; length < whole.size(); length += length < 1100 ? 7 : 31) {
    write_quickly(file, whole.substr(0, length));
    exercise(folder.path());
  }
  Random random(5);
  for (int round = 0; round < 1500; ++round) {
    std::string damaged = whole;
    for (std::int64_t flips = 1 + random.below(4); flips > 0; --flips) {
      damaged[static_cast<std::size_t>(random.below(std::ssize(damaged)))] =
          static_cast<char>(random.below(256));
    }
    write_quickly(file, damaged);
    exercise(folder.path());
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, HostileArchive, testing::Values("train.zip", "train.tar"));

/// Damage behind a checksum that was made to fit again: sizes and names are what an attacker would choose.
TEST(HostileTar, FieldsOfAnyValueNeverCrash) {
  Random random(6);
  const std::string whole = tar_member("././@LongLink", "set/000.png", 'L') + shard(0, 2) +
                            tar_member("x", "19 path=set/009.png\n", 'x') + shard(9, 1) + tar_end();
  for (int round = 0; round < 3000; ++round) {
    std::string damaged = whole;
    const auto header = static_cast<std::size_t>(random.below(std::ssize(whole) / 512)) * 512;
    for (std::int64_t flips = 1 + random.below(6); flips > 0; --flips) {
      damaged[header + 100 + static_cast<std::size_t>(random.below(400))] =
          static_cast<char>(random.below(256));
    }
    damaged.replace(header + 148, 8, "        ");
    unsigned sum = 0;
    for (std::size_t i = 0; i < 512; ++i) sum += static_cast<unsigned char>(damaged[header + i]);
    damaged.replace(header + 148, 8, fmt::format("{:06o}", sum) + std::string("\0 ", 2));
    TarReader tar({"file", std::as_bytes(std::span(damaged)), nullptr});
    try {
      while (const auto member = tar.next()) {
        ASSERT_LE(member->offset, damaged.size());
        ASSERT_LE(member->bytes, damaged.size() - member->offset);
      }
    } catch (const Error&) {
    }
  }
}

}  // namespace
}  // namespace spatialmamba::data
