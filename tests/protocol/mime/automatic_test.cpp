// What no person wrote, what a delivery report tells, which part of a text is new.
#include <gtest/gtest.h>

#include "protocol/mime/automatic.hpp"
#include "protocol/mime/mime.hpp"

namespace mailherd::mime {
namespace {

std::string kind(const std::string& header) { return classify(header + "\r\n\r\nbody").kind; }

TEST(automatic, is_what_the_header_says) {
  EXPECT_EQ(kind("From: Ann <ann@x.test>\r\nSubject: hello"), "");
  EXPECT_EQ(kind("Auto-Submitted: no"), "");
  EXPECT_EQ(kind("Auto-Submitted: auto-replied (vacation)"), "auto_reply");
  EXPECT_EQ(kind("Auto-Submitted: auto-replied; owner-email=\"a@b.test\""), "auto_reply");
  EXPECT_EQ(kind("AUTO-SUBMITTED:\r\n Auto-Replied"), "auto_reply");
  EXPECT_EQ(kind("Auto-Submitted: auto-generated"), "auto_generated");
  EXPECT_EQ(kind("X-Autoreply: yes"), "auto_reply");
  EXPECT_EQ(kind("Precedence: bulk"), "bulk");
  EXPECT_EQ(kind("List-Id: <dev.x.test>\r\nPrecedence: bulk"), "list");
  EXPECT_EQ(kind("List-Unsubscribe: <mailto:x@x.test>"), "bulk");
  EXPECT_EQ(kind("Content-Type: multipart/report; report-type=delivery-status; boundary=x"), "bounce");
  EXPECT_EQ(kind("Content-Type: multipart/report; report-type=disposition-notification; boundary=x"), "");
  EXPECT_EQ(kind("Return-Path: <>\r\nFrom: Mail Delivery System <MAILER-DAEMON@x.test>"), "bounce");
  EXPECT_EQ(kind("Return-Path: <>\r\nFrom: Ann <ann@x.test>"), "auto_generated");
  EXPECT_EQ(classify("Subject: x\r\n\r\nAuto-Submitted: auto-replied\r\n").kind, "") << "a body is no header";
}

TEST(automatic, a_delivery_report_names_its_recipients) {
  const std::string raw =
      "Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nsorry\r\n"
      "--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.x.test\r\n\r\n"
      "Final-Recipient: rfc822; ann@x.test\r\nAction: Failed\r\nStatus: 5.1.1\r\nDiagnostic-Code: smtp; 550 no\r\n such user\r\n\r\n"
      "Final-Recipient: rfc822;bob@x.test\r\nAction: delayed\r\nStatus: 4.4.1\r\n\r\n--b--\r\n";
  const auto content = parse_content(raw);
  const auto all = delivery_report(content.delivery_status);
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].recipient, "ann@x.test");
  EXPECT_EQ(all[0].action, "failed");
  EXPECT_EQ(all[0].status, "5.1.1");
  EXPECT_EQ(all[0].diagnostic, "550 no such user");
  EXPECT_EQ(all[1].recipient, "bob@x.test");
  EXPECT_EQ(content.attachments.at(0).size, content.delivery_status.size()) << "it is an attachment as well";
  EXPECT_TRUE(parse_content("Subject: x\r\n\r\nFinal-Recipient: rfc822; ann@x.test\r\n").delivery_status.empty());
  EXPECT_TRUE(delivery_report("").empty());
}

std::string pieces(const std::string& text) {
  std::string out, together;
  for (const auto& p : split_reply(text)) {
    out += p.is == text_piece::kind::quote ? "Q" : p.is == text_piece::kind::signature ? "S" : "R";
    together += p.text;
  }
  EXPECT_EQ(together, text) << "nothing is lost";
  return out;
}

TEST(reply, quotes_and_signatures_are_marked) {
  EXPECT_EQ(pieces("Just this\n"), "R");
  EXPECT_EQ(pieces(""), "");
  EXPECT_EQ(pieces("Thanks!\n\nOn Tue, 24 Nov 2026, Ann wrote:\n> old\n> older\n"), "RQ");
  EXPECT_EQ(pieces("> first question\nanswer\n> second\nanswer\n"), "QRQR");
  EXPECT_EQ(pieces("Danke\n-- \nAnn\nTel. 1\n"), "RS");
  EXPECT_EQ(pieces("Danke\n-- \nAnn\n\nAm 24.11.2026 schrieb Bob:\n> alt\n"), "RSQ");
  EXPECT_EQ(pieces("Hi\n\n-----Original Message-----\nFrom: Ann\n\nold text without marks\n"), "RQ");
  EXPECT_EQ(pieces("no line end"), "R");
}

}  // namespace
}  // namespace mailherd::mime
