/* SPDX-License-Identifier: MIT */
/* qr.c - a QR code on a terminal: two modules in each character, one above the other. */
#include "setup/setup_internal.h"

#ifdef PQ_WITH_QR

#include <qrencode.h>
#include <string.h>

#define MARGIN 2 /* modules of the white rim; four are the rule, but readers do with two */

bool pq_qr_there(void)
{
    return true;
}

static bool is_dark(const QRcode *c, int x, int y)
{
    return x >= 0 && y >= 0 && x < c->width && y < c->width && c->data[y * c->width + x] & 1;
}

/* With colours dark is drawn on bright; without, what is bright is drawn, for dark terminals. */
static void print_row(const QRcode *c, int y, FILE *f, bool plain)
{
    static const char *const cells[] = {" ", "\xe2\x96\x84", "\xe2\x96\x80", "\xe2\x96\x88"};
    fputs(plain ? "  " : "  \033[30;107m", f);
    for (int x = -MARGIN; x < c->width + MARGIN; x++) {
        const unsigned cell = (unsigned)is_dark(c, x, y) << 1 | (unsigned)is_dark(c, x, y + 1);
        fputs(cells[plain ? 3 - cell : cell], f);
    }
    fputs(plain ? "\n" : "\033[0m\n", f);
}

void pq_qr_print(const char *text, FILE *f, bool plain)
{
    QRcode *c = QRcode_encodeString8bit(text, 0, QR_ECLEVEL_L);
    if (!c) {
        fputs("  (too long for a QR code)\n", f);
        return;
    }
    for (int y = -MARGIN; y < c->width + MARGIN; y += 2)
        print_row(c, y, f, plain);
    explicit_bzero(c->data, (size_t)c->width * (size_t)c->width);
    QRcode_free(c);
}

#else

bool pq_qr_there(void)
{
    return false;
}

void pq_qr_print(const char *text, FILE *f, bool plain)
{
    (void)text;
    (void)plain;
    fputs("  (this build makes no QR codes: it was made without libqrencode)\n", f);
}

#endif
