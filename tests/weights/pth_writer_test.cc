#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>

#include "base/file.h"
#include "support/golden.h"
#include "support/temporary_folder.h"
#include "weights/build_files.h"
#include "weights/checkpoint.h"
#include "weights/expect_equal.h"

namespace spatialmamba {
namespace {

using test::make_zip;
using test::Records;
using test::source_of;
using testing::HasSubstr;
using testing::ThrowsMessage;

Weights one_of_each_type() {
  Weights weights;
  weights.metadata = {{"variant", "tiny"}, {"classes", "[\"ü\"]"}};
  for (const DType dtype : {DType::f64, DType::f32, DType::f16, DType::bf16, DType::i64, DType::i32,
                            DType::i16, DType::i8, DType::u8, DType::boolean}) {
    Tensor tensor(dtype, {3, 1, 2});
    for (std::size_t i = 0; i < tensor.bytes(); ++i) tensor.mutable_raw()[i] = static_cast<std::byte>(i % 2);
    weights.tensors.add("layer." + std::string(name_of(dtype)), std::move(tensor));
  }
  weights.tensors.add("scalar", Tensor::from<double>({}, {1.5}));
  weights.tensors.add("empty", Tensor(DType::f32, {2, 0, 3}));
  return weights;
}

TEST(PthWriter, EveryElementTypeSurvivesARoundTrip) {
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "weights.pth";
  const Weights weights = one_of_each_type();
  for (const std::string key : {"model", "state_dict", ""}) {
    write_pth(path, weights, key);
    const Weights copy = read_weights(path);
    test::expect_same(copy.tensors, weights.tensors);
    EXPECT_EQ(copy.metadata.empty(), key.empty());
    if (!key.empty()) {
      EXPECT_EQ(copy.metadata, weights.metadata);
      test::expect_same(read_pth(path, key).tensors, weights.tensors);
    }
  }
}

TEST(PthWriter, TensorsBeginAtMultiplesOf64) {
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "weights.pth";
  write_pth(path, one_of_each_type());
  const auto file = MappedFile::open(path);
  const ZipReader zip({path.string(), file->bytes(), file});
  std::size_t storages = 0;
  for (const ZipReader::Entry& entry : zip.entries()) {
    const Record record = zip.read(entry);
    EXPECT_EQ((record.bytes.data() - file->bytes().data()) % 64, 0) << entry.name;
    storages += entry.name.starts_with("archive/data/") ? 1 : 0;
  }
  EXPECT_EQ(storages, one_of_each_type().tensors.size());
}

TEST(PthWriter, GoldenWeightsGoThereAndBack) {
  const test::TemporaryFolder folder;
  for (const auto& file : test::golden_files("classification/nano", ".pth")) {
    SCOPED_TRACE(file.string());
    const Weights original = read_pth(file);
    write_safetensors(folder.path() / "there.safetensors", original);
    write_pth(folder.path() / "back.pth", read_safetensors(folder.path() / "there.safetensors"));
    test::expect_same(read_pth(folder.path() / "back.pth").tensors, original.tensors);
  }
}

TEST(PthWriter, AnUnwritableFolderIsAnErrorThatNamesTheFile) {
  const auto path = std::filesystem::path("/proc/none/weights.pth");
  EXPECT_THAT([&] { write_pth(path, one_of_each_type()); }, ThrowsMessage<Error>(HasSubstr("/proc/none")));
}

// --- The container, as other programs may write it. ---

Records small_checkpoint() {
  return {{"archive/data.pkl",
           "\x80\x02" + test::pickled::dict({{"w", test::pickled::tensor("0", 2, 0, {2}, {1})}}) + "."},
          {"archive/data/0", test::little(1.5F) + test::little(2.5F)},
          {"archive/version", "3\n"}};
}

void expect_read(const std::string& file) {
  EXPECT_THAT(parse_pth(source_of(file), "").tensors.at("w").values<float>(),
              testing::ElementsAre(1.5F, 2.5F));
}

void expect_refused(const std::string& file, const std::string& why) {
  EXPECT_THAT([&] { parse_pth(source_of(file), ""); }, ThrowsMessage<Error>(HasSubstr(why)));
}

TEST(Zip, StoredDeflatedZip64AndCommentedArchivesAreRead) {
  expect_read(make_zip(small_checkpoint()));
  expect_read(make_zip(small_checkpoint(), {.deflate = true}));
  expect_read(make_zip(small_checkpoint(), {.zip64 = true}));
  expect_read(make_zip(small_checkpoint(), {.deflate = true, .zip64 = true}));
  expect_read(make_zip(small_checkpoint(), {.comment = "PK\x05\x06 is not the end"}));
}

TEST(Zip, OtherKindsOfArchivesAreRefused) {
  Records records = small_checkpoint();
  records.emplace_back("archive/constants.pkl", "");
  expect_refused(make_zip(records), "TorchScript");
  records = small_checkpoint();
  records.emplace_back("archive/byteorder", "big");
  expect_refused(make_zip(records), "byte order 'big'");
  expect_refused(make_zip({{"readme.txt", "hello"}}), "no data.pkl");
  records = small_checkpoint();
  records.push_back(records[1]);
  expect_refused(make_zip(records), "'archive/data/0' occurs twice");
}

TEST(Zip, DamageIsFound) {
  const std::string good = make_zip(small_checkpoint());
  std::string damaged = good;
  damaged[good.find(test::little(2.5F))] ^= 1;
  expect_refused(damaged, "'archive/data/0' is damaged (checksum)");
  damaged = good;
  damaged[good.find("archive/data/0")] = 'b';
  expect_refused(damaged, "another name in its header");
  damaged = good;
  damaged[good.rfind("PK\x01\x02") + 8] |= 1;
  expect_refused(damaged, "encrypted");
  damaged = good;
  damaged[good.rfind("PK\x01\x02") + 10] = 12;
  expect_refused(damaged, "method 12");
  expect_refused(good.substr(0, good.size() - 1), "incomplete");
}

TEST(Zip, ABombIsRefusedBeforeItUnfolds) {
  std::string bomb = make_zip({{"archive/data.pkl", std::string(100, 'N')}}, {.deflate = true});
  const std::size_t entry = bomb.rfind("PK\x01\x02");
  bomb.replace(entry + 24, 4, test::little<std::uint32_t>(0xF0000000));
  expect_refused(bomb, "cannot come from");
}

}  // namespace
}  // namespace spatialmamba
