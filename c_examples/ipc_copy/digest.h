#ifndef DIGEST_H
#define DIGEST_H

#define DIGEST_HEX 64

/* Computes the SHA-256 of two files at once with the tool sha256sum (coreutils), from their
 * beginnings. Returns 0, or -1 after saying on standard error what went wrong. */
int digest_two(const int fd[2], char ret_hex[2][DIGEST_HEX + 1]);

#endif
