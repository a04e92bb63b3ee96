// tests/transport/policy: which addresses are of the public Internet, and what MAILHERD_PRIVATE_TARGETS changes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "transport/network.hpp"
#include "transport/race.hpp"
#include "transport/resolver.hpp"

namespace mailherd::net {
namespace {

using ::testing::HasSubstr;

TEST(policy, without_exceptions_only_public_addresses_are_reached) {
  const target_policy none = *target_policy::parse("");
  for (const char* address : {"0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.255", "127.0.0.1",
                              "127.255.0.1", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.8", "192.0.2.1", "192.88.99.1",
                              "192.168.1.1", "198.18.0.1", "198.19.255.255", "198.51.100.7", "203.0.113.9", "224.0.0.1", "239.255.255.255",
                              "240.0.0.1", "255.255.255.255", "::", "::1", "fc00::1", "fd00::2", "fe80::1", "fe80::1%eth0", "fec0::1",
                              "ff02::1", "2001:db8::1", "3fff::1", "100::1", "5f00::1", "2001:10::1", "2001:2::1", "64:ff9b:1::1",
                              // IPv4 in disguise
                              "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:0:127.0.0.1", "::127.0.0.1", "64:ff9b::169.254.169.254",
                              "64:ff9b::10.0.0.1", "2002:7f00:1::", "2002:a00:1::1", "2001:0:4136:e378:8000:63bf:f5ff:fffe", "[::1]",
                              // no addresses at all
                              "", "mail.acme.test", "127.1", "0x7f000001", "1.2.3.4.5"})
    EXPECT_FALSE(none.allows("mail.acme.test", address)) << address;
  for (const char* address : {"1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "172.15.255.255", "172.32.0.0",
                              "192.0.1.1", "198.17.255.255", "198.20.0.0", "223.255.255.255", "2600::1", "2a00:1450::1", "::ffff:8.8.8.8",
                              "64:ff9b::8.8.8.8", "2002:808:808::1"})
    EXPECT_TRUE(none.allows("mail.acme.test", address)) << address;
}

TEST(policy, networks_addresses_and_names_are_exceptions) {
  const target_policy p = *target_policy::parse(" 10.1.0.0/16, ::1 ,192.168.7.0/30,Mail.Internal., fd00::/8");
  EXPECT_TRUE(p.allows("x", "10.1.2.3"));
  EXPECT_TRUE(p.allows("x", "::ffff:10.1.2.3"));
  EXPECT_FALSE(p.allows("x", "10.2.0.1"));
  EXPECT_TRUE(p.allows("x", "::1"));
  EXPECT_FALSE(p.allows("x", "127.0.0.1"));
  EXPECT_TRUE(p.allows("x", "192.168.7.3"));
  EXPECT_FALSE(p.allows("x", "192.168.7.4"));
  EXPECT_TRUE(p.allows("x", "fd12::1"));
  EXPECT_TRUE(p.allows("mail.internal", "172.16.0.1"));
  EXPECT_TRUE(p.allows("MAIL.internal.", "127.0.0.1"));
  EXPECT_FALSE(p.allows("sub.mail.internal", "127.0.0.1"));
  const target_policy all = *target_policy::parse("all");
  EXPECT_TRUE(all.allows("x", "127.0.0.1"));
  EXPECT_TRUE(all.allows("x", "fe80::1"));
}

TEST(policy, names_the_entry_that_is_wrong) {
  for (const char* text :
       {"10.0.0.0/33", "10.0.0/8", "10.0.0.1/", "::1/129", "10.0.0.0/8x", "a b", "mail.internal/8", "300.1.1.1", "10.0.0.0/-1"}) {
    const auto p = target_policy::parse(std::string("127.0.0.1, ") + text);
    ASSERT_FALSE(p) << text;
    EXPECT_EQ(p.error().code, failure::invalid_input);
    EXPECT_THAT(p.error().detail, HasSubstr(text));
  }
}

TEST(policy, families_take_turns) {
  std::vector<ip_address> in;
  for (const char* t : {"2600::1", "2600::2", "2600::3", "1.1.1.1", "1.1.1.2"}) in.push_back(*ip_address::parse(t));
  std::vector<std::string> out;
  for (const auto& a : interleaved(in)) out.push_back(a.text());
  EXPECT_THAT(out, ::testing::ElementsAre("2600::1", "1.1.1.1", "2600::2", "1.1.1.2", "2600::3"));
}

TEST(policy, a_host_field_holds_a_name_or_an_address) {
  for (const char* good : {"mail.acme.test", "localhost", "10.0.0.1", "::1", "[::1]", "_imaps.acme.test", "xn--bcher-kva.example"})
    EXPECT_TRUE(valid_host(good)) << good;
  for (const char* bad : {"", "a b", "a\r\nb", "a/b", "user@host", "host:993", "-oops", ".test", "b\xc3\xbc" "cher.example"})
    EXPECT_FALSE(valid_host(bad)) << bad;
  EXPECT_FALSE(valid_host(std::string(254, 'a')));
}

}  // namespace
}  // namespace mailherd::net
