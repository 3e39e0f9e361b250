#pragma once

#include <fmt/format.h>

#include <string>

namespace spatialmamba::test {

/// A tar member: its header and its padded content.
inline std::string tar_member(const std::string& name, const std::string& content, char type = '0') {
  constexpr std::size_t kBlock = 512;
  std::string header(kBlock, '\0');
  header.replace(0, name.size(), name);
  header.replace(100, 7, "0000644");
  header.replace(124, 12, fmt::format("{:011o} ", content.size()));
  header.replace(148, 8, "        ");
  header[156] = type;
  header.replace(257, 8, std::string("ustar\0", 6) + "00");
  unsigned sum = 0;
  for (const char c : header) sum += static_cast<unsigned char>(c);
  header.replace(148, 8, fmt::format("{:06o}", sum) + std::string("\0 ", 2));
  std::string padding((kBlock - content.size() % kBlock) % kBlock, '\0');
  return header + content + padding;
}

/// The two empty blocks that end an archive.
inline std::string tar_end() {
  return std::string(1024, '\0');
}

}  // namespace spatialmamba::test
