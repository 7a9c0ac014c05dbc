    .pushsection .text.ipc_shm_open_or_create, "ax", @progbits
    .globl ipc_shm_open_or_create
    .type ipc_shm_open_or_create, @function
    .p2align 4
ipc_shm_open_or_create:
    .cfi_startproc
    .cfi_personality 0x1b, {personality}
    push rbp
    .cfi_def_cfa_offset 16
    .cfi_offset rbp, -16
    mov rbp, rsp
    .cfi_def_cfa_register rbp
    sub rsp, 80
    mov [rsp], rdi
    mov [rsp + 8], rsi
    mov [rsp + 16], rdx
    mov [rsp + 24], rcx
    mov [rsp + 32], r8
    mov [rsp + 40], r9
    mov rax, [rbp + 16]
    mov [rsp + 48], rax
    mov rdi, rsp
    call {begin}
    test eax, eax
    jz 2f
    mov rdi, [rsp + 56]
    mov rsi, [rsp + 8]
    mov rdx, [rsp + 24]
    call [rsp + 16]
    mov [rsp + 72], eax
    mov rdi, rsp
    call {finish}
2:
    mov eax, [rsp + 76]
    leave
    .cfi_def_cfa rsp, 8
    ret
    .cfi_endproc
    .size ipc_shm_open_or_create, . - ipc_shm_open_or_create
    .popsection
