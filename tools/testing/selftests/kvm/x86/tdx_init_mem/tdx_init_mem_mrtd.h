/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the TDX module's measurement of an initial image must be, by the kernel's
 * own SHA-384 over the stream of calls.
 */
#ifndef TDX_INIT_MEM_MRTD_H
#define TDX_INIT_MEM_MRTD_H

#include <linux/stddef.h> /* __counted_by, for the next */
#include <linux/if_alg.h>
#include <sys/socket.h>

#include "tdx_init_mem.h"

#define MRTD_SIZE TDX_EMUL_MRTD_SIZE

/* One PAGE.ADD or MR.EXTEND in the stream that is hashed. */
#define MRTD_BLOCK_SIZE 128
#define MRTD_CHUNK_SIZE 256

/* SHA-384 by AF_ALG: a socket that is the algorithm, one of it for each hash. */
static inline int mrtd_sha384_open(void)
{
	const struct sockaddr_alg address = {
		.salg_family = AF_ALG,
		.salg_type = "hash",
		.salg_name = "sha384",
	};
	int algorithm = socket(AF_ALG, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	int fd = -1;

	if (algorithm < 0)
		return -1;
	if (!bind(algorithm, (const struct sockaddr *)&address, sizeof(address)))
		fd = accept(algorithm, NULL, NULL);
	close(algorithm);
	return fd;
}

static inline void mrtd_sha384(const void *data, size_t len, u8 digest[MRTD_SIZE])
{
	int fd = mrtd_sha384_open();
	ssize_t r;

	TEST_ASSERT(fd >= 0, "AF_ALG: errno %d", errno);
	do {
		r = send(fd, data, len, MSG_MORE);
		TEST_ASSERT(r >= 0 && (r || !len), "send to AF_ALG: errno %d", errno);
		data += r;
		len -= r;
	} while (len);
	r = recv(fd, digest, MRTD_SIZE, 0);
	TEST_ASSERT(r == MRTD_SIZE, "recv from AF_ALG: %zd, errno %d", r, errno);
	close(fd);
}

static inline const char *mrtd_lacks(void)
{
	int fd;

	if (!tdx_host_is_emulated())
		return "the host may read the MRTD of debug TDs only, and KVM makes none";
	if (tdx_emul_lacks())
		return tdx_emul_lacks();

	fd = mrtd_sha384_open();
	if (fd < 0)
		return "no SHA-384 by AF_ALG (CRYPTO_USER_API_HASH, CRYPTO_SHA512)";
	close(fd);
	return NULL;
}

/* What the calls so far must have contributed. */
struct mrtd_stream {
	u8 *bytes;
	size_t len;
	size_t size;
};

static inline void mrtd_append(struct mrtd_stream *stream, const void *bytes, size_t len)
{
	if (stream->len + len > stream->size) {
		stream->size = 2 * (stream->len + len);
		stream->bytes = realloc(stream->bytes, stream->size);
		TEST_ASSERT(stream->bytes, "Insufficient memory");
	}
	memcpy(stream->bytes + stream->len, bytes, len);
	stream->len += len;
}

/* A block is the name of the call, the gpa, and zeros. */
static inline void mrtd_append_block(struct mrtd_stream *stream, const char *name, u64 gpa)
{
	u8 block[MRTD_BLOCK_SIZE] = {};

	memcpy(block, name, strlen(name));
	memcpy(block + 16, &gpa, sizeof(gpa));
	mrtd_append(stream, block, sizeof(block));
}

static inline void mrtd_append_page(struct mrtd_stream *stream, u64 gpa, const void *content,
				    u32 flags)
{
	unsigned int offset;

	mrtd_append_block(stream, "MEM.PAGE.ADD", gpa);
	if (!(flags & KVM_TDX_MEASURE_MEMORY_REGION))
		return;

	for (offset = 0; offset < PAGE_SIZE; offset += MRTD_CHUNK_SIZE) {
		mrtd_append_block(stream, "MR.EXTEND", gpa + offset);
		mrtd_append(stream, content + offset, MRTD_CHUNK_SIZE);
	}
}

static inline void mrtd_print(char *text, const u8 mrtd[MRTD_SIZE])
{
	unsigned int i;

	for (i = 0; i < MRTD_SIZE; i++)
		sprintf(text + 2 * i, "%02x", mrtd[i]);
}

static inline void mrtd_of_stream(const struct mrtd_stream *stream, u8 mrtd[MRTD_SIZE])
{
	mrtd_sha384(stream->bytes, stream->len, mrtd);
}

#endif /* TDX_INIT_MEM_MRTD_H */
