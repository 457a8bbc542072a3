/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "special.h"
#include "mime.h"

#include <stdio.h>

static void english(struct mhc_buf *buf, struct mhc_prng *prng, size_t want)
{
    mhc_text_lines(buf, prng, mhc_text_language(0), false, want);
}

static void text_part(struct mhc_buf *buf, struct mhc_prng *prng, size_t want)
{
    mhc_buf_puts(buf, "Content-Type: text/plain; charset=us-ascii\r\n\r\n");
    english(buf, prng, want);
}

static void original_headers(struct mhc_buf *buf, struct mhc_prng *prng)
{
    mhc_buf_printf(buf,
                   "Content-Type: text/rfc822-headers\r\n\r\n"
                   "From: Mailbox Owner <owner@example.com>\r\n"
                   "To: nobody@nordwind.example\r\n"
                   "Subject: The message that this is about\r\n"
                   "Message-ID: <%016llx@example.com>\r\n\r\n",
                   (unsigned long long)mhc_prng_next(prng));
}

void mhc_special_dsn(struct mhc_buf *buf, struct mhc_prng *prng, struct mhc_date date)
{
    char boundary[MHC_BOUNDARY_SIZE];
    char when[MHC_DATE_SIZE];
    mhc_mime_boundary(boundary, prng);
    mhc_mime_multipart(buf, "report", boundary, ";\r\n report-type=delivery-status");
    mhc_mime_part(buf, boundary);
    mhc_buf_puts(buf, "Content-Type: text/plain; charset=us-ascii\r\n\r\n"
                      "This is the mail system at host mx.example.com.\r\n\r\n"
                      "I'm sorry to have to inform you that your message could not\r\n"
                      "be delivered to one or more recipients.\r\n\r\n");
    mhc_mime_part(buf, boundary);
    mhc_buf_printf(buf,
                   "Content-Type: message/delivery-status\r\n\r\n"
                   "Reporting-MTA: dns; mx.example.com\r\nArrival-Date: %s\r\n\r\n"
                   "Final-Recipient: rfc822; nobody@nordwind.example\r\nAction: failed\r\n"
                   "Status: 5.1.1\r\nDiagnostic-Code: smtp; 550 5.1.1 User unknown\r\n\r\n",
                   mhc_date_rfc5322(when, date));
    mhc_mime_part(buf, boundary);
    original_headers(buf, prng);
    mhc_mime_end(buf, boundary);
}

void mhc_special_mdn(struct mhc_buf *buf, struct mhc_prng *prng)
{
    char boundary[MHC_BOUNDARY_SIZE];
    mhc_mime_boundary(boundary, prng);
    mhc_mime_multipart(buf, "report", boundary, ";\r\n report-type=disposition-notification");
    mhc_mime_part(buf, boundary);
    text_part(buf, prng, 120);
    mhc_mime_part(buf, boundary);
    mhc_buf_puts(buf, "Content-Type: message/disposition-notification\r\n\r\n"
                      "Reporting-UA: mail.example.com; Reader 1.0\r\n"
                      "Final-Recipient: rfc822; owner@example.com\r\n"
                      "Original-Message-ID: <4711@nordwind.example>\r\n"
                      "Disposition: manual-action/MDN-sent-manually; displayed\r\n\r\n");
    mhc_mime_end(buf, boundary);
}

void mhc_special_arf(struct mhc_buf *buf, struct mhc_prng *prng)
{
    char boundary[MHC_BOUNDARY_SIZE];
    mhc_mime_boundary(boundary, prng);
    mhc_mime_multipart(buf, "report", boundary, ";\r\n report-type=feedback-report");
    mhc_mime_part(buf, boundary);
    text_part(buf, prng, 120);
    mhc_mime_part(buf, boundary);
    mhc_buf_puts(buf, "Content-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\n"
                      "User-Agent: Reporter/1.0\r\nVersion: 1\r\nSource-IP: 192.0.2.1\r\n\r\n");
    mhc_mime_part(buf, boundary);
    original_headers(buf, prng);
    mhc_mime_end(buf, boundary);
}

void mhc_special_invite(struct mhc_buf *buf, struct mhc_prng *prng, struct mhc_date date,
                        const char *method)
{
    char boundary[MHC_BOUNDARY_SIZE];
    char start[MHC_DATE_SIZE];
    char end[MHC_DATE_SIZE];
    struct mhc_date begins = {date.unix_seconds / 3600 * 3600 + INT64_C(7) * 86400, 0};
    struct mhc_date ends = {begins.unix_seconds + 3600, 0};
    mhc_mime_boundary(boundary, prng);
    mhc_mime_multipart(buf, "alternative", boundary, "");
    mhc_mime_part(buf, boundary);
    text_part(buf, prng, 200);
    mhc_mime_part(buf, boundary);
    mhc_buf_printf(buf,
                   "Content-Type: text/calendar; charset=utf-8; method=%s\r\n"
                   "Content-Transfer-Encoding: 8bit\r\n\r\n"
                   "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Example//Calendar//EN\r\n"
                   "METHOD:%s\r\nBEGIN:VEVENT\r\nUID:%016llx@nordwind.example\r\n"
                   "DTSTAMP:%s\r\nDTSTART:%s\r\n",
                   method, method, (unsigned long long)mhc_prng_next(prng),
                   mhc_date_ical(start, date), mhc_date_ical(end, begins));
    mhc_buf_printf(buf,
                   "DTEND:%s\r\nSUMMARY:Besprechung Übergabe – étape 2\r\n"
                   "ORGANIZER;CN=Anna Keller:mailto:anna.keller@nordwind.example\r\n"
                   "ATTENDEE;PARTSTAT=NEEDS-ACTION;RSVP=TRUE:mailto:owner@example.com\r\n"
                   "SEQUENCE:0\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n",
                   mhc_date_ical(end, ends));
    mhc_mime_end(buf, boundary);
}

void mhc_special_smime_signed(struct mhc_buf *buf, struct mhc_prng *prng)
{
    char boundary[MHC_BOUNDARY_SIZE];
    mhc_mime_boundary(boundary, prng);
    mhc_mime_multipart(buf, "signed", boundary,
                       ";\r\n protocol=\"application/pkcs7-signature\"; micalg=sha-256");
    mhc_mime_part(buf, boundary);
    text_part(buf, prng, 900);
    mhc_buf_puts(buf, "Trailing spaces count here:   \r\n");
    mhc_mime_part(buf, boundary);
    mhc_buf_puts(buf, "Content-Type: application/pkcs7-signature; name=\"smime.p7s\"\r\n"
                      "Content-Transfer-Encoding: base64\r\n"
                      "Content-Disposition: attachment; filename=\"smime.p7s\"\r\n\r\n");
    mhc_mime_base64_random(buf, prng, "MIAGCSqGSIb3DQEHAqCAMIACAQExDzANBglghkgBZQMEAgEFADCA", 3200);
    mhc_mime_end(buf, boundary);
}

void mhc_special_smime_enveloped(struct mhc_buf *buf, struct mhc_prng *prng)
{
    mhc_buf_puts(buf, "Content-Type: application/pkcs7-mime; smime-type=enveloped-data;\r\n"
                      " name=\"smime.p7m\"\r\nContent-Transfer-Encoding: base64\r\n"
                      "Content-Disposition: attachment; filename=\"smime.p7m\"\r\n\r\n");
    mhc_mime_base64_random(buf, prng, "MIAGCSqGSIb3DQEHA6CAMIACAQAxggGIMIIBhAIBADBs", 5000);
}

void mhc_special_pgp_mime(struct mhc_buf *buf, struct mhc_prng *prng)
{
    char boundary[MHC_BOUNDARY_SIZE];
    mhc_mime_boundary(boundary, prng);
    mhc_mime_multipart(buf, "encrypted", boundary, ";\r\n protocol=\"application/pgp-encrypted\"");
    mhc_mime_part(buf, boundary);
    mhc_buf_puts(buf, "Content-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n\r\n");
    mhc_mime_part(buf, boundary);
    mhc_buf_puts(buf, "Content-Type: application/octet-stream; name=\"encrypted.asc\"\r\n\r\n"
                      "-----BEGIN PGP MESSAGE-----\r\n\r\n");
    mhc_mime_base64_random(buf, prng, "hQIMA", 2400);
    mhc_buf_puts(buf, "=aB3d\r\n-----END PGP MESSAGE-----\r\n");
    mhc_mime_end(buf, boundary);
}

void mhc_special_pgp_inline(struct mhc_buf *buf, struct mhc_prng *prng)
{
    mhc_buf_puts(buf, "Content-Type: text/plain; charset=utf-8\r\n\r\n"
                      "-----BEGIN PGP SIGNED MESSAGE-----\r\nHash: SHA256\r\n\r\n"
                      "- -- dash-escaped line, and one with trailing blanks:  \t\r\n");
    english(buf, prng, 600);
    mhc_buf_puts(buf, "-----BEGIN PGP SIGNATURE-----\r\n\r\n");
    mhc_mime_base64_random(buf, prng, "iQIzBAEBCAAdFiEE", 500);
    mhc_buf_puts(buf, "=Zx9k\r\n-----END PGP SIGNATURE-----\r\n");
}

void mhc_special_tnef(struct mhc_buf *buf, struct mhc_prng *prng)
{
    char boundary[MHC_BOUNDARY_SIZE];
    mhc_mime_boundary(boundary, prng);
    mhc_mime_multipart(buf, "mixed", boundary, "");
    mhc_mime_part(buf, boundary);
    text_part(buf, prng, 300);
    mhc_mime_part(buf, boundary);
    mhc_buf_puts(buf, "Content-Type: application/ms-tnef; name=\"winmail.dat\"\r\n"
                      "Content-Transfer-Encoding: base64\r\n"
                      "Content-Disposition: attachment; filename=\"winmail.dat\"\r\n\r\n");
    mhc_mime_base64_random(buf, prng, "eJ8+IgAAAQaQCAAEAAAAAAABAAEAAQeQBgAIAAAA", 4200);
    mhc_mime_end(buf, boundary);
}

void mhc_special_nested_messages(struct mhc_buf *buf, struct mhc_prng *prng, unsigned levels)
{
    for (unsigned level = 0; level < levels; level++) {
        mhc_buf_printf(buf,
                       "Content-Type: message/rfc822\r\nContent-Disposition: attachment\r\n\r\n"
                       "From: level%u@example.com\r\nTo: owner@example.com\r\n"
                       "Subject: inner message %u\r\nMIME-Version: 1.0\r\n",
                       level + 1, level + 1);
    }
    mhc_buf_puts(buf, "Content-Type: text/plain; charset=us-ascii\r\n\r\n");
    english(buf, prng, 300);
}
